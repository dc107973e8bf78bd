// `nest-oauth keys …`
import type { KeyRing } from '../crypto/key-ring.js';
import { randomToken } from '../crypto/random.js';
import type { KeyUse } from '../ops/rekeyer.service.js';
import { type Arguments, keyRingOf, rekeyerOf, withDatabase } from './settings.js';

/** Prints a new key and nothing else, so that it can be piped. */
export function generateKey(): number {
  console.log(randomToken());
  return 0;
}

/** Prints how many values each key has sealed. */
export async function reportKeys(given: Arguments): Promise<number> {
  const uses = await withDatabase(given, (database) => rekeyerOf(database).report());
  if (given.json) {
    console.log(JSON.stringify(uses));
    return 0;
  }
  if (uses.length === 0) console.log('no sealed values');
  for (const [keyId, rows] of totals(uses)) {
    console.log(`${keyId}: ${rows} values`);
    for (const use of uses.filter((item) => item.keyId === keyId)) console.log(`  ${use.column}: ${use.rows}`);
  }
  return 0;
}

/** Says whether a key may be removed from the configuration. */
export async function retireKey(id: string, given: Arguments): Promise<number> {
  const uses = await withDatabase(given, (database) => rekeyerOf(database).report());
  const rows = totals(uses).get(id) ?? 0;
  // Keys that are given and cannot be read are a mistake of the call, and no reason to let a key go.
  const known = given.keys !== undefined || process.env.OAUTH_KEYS !== undefined;
  const ring = known ? await keyRingOf(given) : undefined;
  const current = ring?.currentKeyId === id;
  const refusal = current
    ? `"${id}" is the current key: move another one first, deploy it, and run "nest-oauth rekey"`
    : rows > 0
      ? `"${id}" still seals ${rows} values: run "nest-oauth rekey" with another key first`
      : undefined;
  if (given.json)
    console.log(JSON.stringify({ id, rows, current: ring ? current : null, retired: refusal === undefined }));
  else if (refusal === undefined) console.log(`"${id}" seals nothing${whatNext(id, ring)}`);
  if (refusal !== undefined && !given.json) console.error(`refused: ${refusal}`);
  return refusal === undefined ? 0 : 1;
}

/** For a key that seals nothing. A name that is no key's is mostly a slip, and the key that was meant is in use. */
function whatNext(id: string, ring: KeyRing | undefined): string {
  if (!ring) return '; whether it is the current one was not looked at: give --keys FILE or set OAUTH_KEYS';
  if (ring.keyIds.includes(id)) return ': remove it from encryption.keys of every process, then destroy it';
  return `, and is none of the keys given (${ring.keyIds.join(', ')}): see whether that is its name`;
}

/** Values per key over all columns. */
export function totals(uses: readonly KeyUse[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { keyId, rows } of uses) counts.set(keyId, (counts.get(keyId) ?? 0) + rows);
  return counts;
}
