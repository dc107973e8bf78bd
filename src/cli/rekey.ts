// `nest-oauth rekey`
import { totals } from './keys.js';
import { type Arguments, keyRingOf, rekeyerOf, UsageError, wholeNumber, withDatabase } from './settings.js';

/** Seals everything anew with the current key. Exit code 1 when values of other keys are left. */
export async function rekey(given: Arguments): Promise<number> {
  const ring = await keyRingOf(given);
  const batchSize = wholeNumber('batch-size', given['batch-size'], 1);
  const pause = wholeNumber('pause', given.pause, 0);
  return withDatabase(given, async (database) => {
    const rekeyer = rekeyerOf(database, ring);
    // With another key of the same name everything would be sealed so that no process opens it.
    const current = (await rekeyer.sample()).find(({ keyId }) => keyId === ring.currentKeyId);
    if (current && current.closed === current.tried)
      throw new UsageError(`"${ring.currentKeyId}" opens none of the values that name it: it is not the key in use`);
    const result = await rekeyer.rekey({
      ...(batchSize === undefined ? {} : { batchSize }),
      ...(pause === undefined ? {} : { pause }),
      onProgress: ({ column, seen, resealed }) => {
        if (!given.json) console.error(`${column}: ${seen} seen; ${resealed} sealed anew in all`);
      },
    });
    const left = [...totals(await rekeyer.report())].filter(([keyId]) => keyId !== ring.currentKeyId);
    if (given.json)
      console.log(JSON.stringify({ ...result, current: ring.currentKeyId, left: Object.fromEntries(left) }));
    else {
      console.log(`${result.resealed} values sealed anew with "${ring.currentKeyId}"`);
      for (const [keyId, rows] of left) console.log(`left with "${keyId}": ${rows} values`);
      if (left.length > 0)
        console.log('values of other keys are left: a key is missing here, or processes still seal with an older one');
    }
    return left.length === 0 ? 0 : 1;
  });
}
