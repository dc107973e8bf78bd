// Medians and spreads. Nothing here knows what is measured.

/** The middle of the values; `NaN` for none. */
export function median(values) {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** How far apart the rounds were: (largest - smallest) / median. */
export function spread(values) {
  return values.length === 0 ? Number.NaN : (Math.max(...values) - Math.min(...values)) / median(values);
}

/** The value below which the given share of the values lies, share from 0 to 1. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Rounded to so many significant digits; `null` for what could not be measured, as JSON has no NaN. */
export function rounded(value, digits = 4) {
  return value === undefined || value === null || !Number.isFinite(value) ? null : Number(value.toPrecision(digits));
}

/** Median over rounds of the ratio of two series measured side by side, round by round. */
export function ratio(values, reference) {
  return median(values.map((value, round) => value / reference[round]));
}

/** Whose turn it is in a round, there and back again: what a machine does over time favours nobody by its place. */
export function turns(all, round) {
  return round % 2 ? [...all].reverse() : all;
}
