// When a token that is still valid should be renewed: spread out, so that tokens issued together are not renewed together.

/** Share of the threshold by which grants differ. */
const SPREAD = 0.1;

/**
 * True past the configured share of a token's life, or up to a tenth of that earlier: where exactly is the grant's own,
 * the same in every process.
 * @param ahead share of its life, 0 to 1; 1 turns it off
 */
export function isAging(
  grantId: string,
  { ttl, lifetime }: { ttl: number | null; lifetime: number | null },
  ahead: number,
): boolean {
  if (ahead >= 1 || ttl === null || lifetime === null || lifetime <= 0) return false;
  return 1 - ttl / lifetime >= ahead * (1 - SPREAD * fraction(grantId));
}

/** 0 to 1, evenly spread over random ids. */
function fraction(id: string): number {
  return parseInt(id.slice(0, 6), 16) / 0xffffff;
}
