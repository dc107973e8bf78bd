// Sealing and opening one token of 1.5 KB: ours against `jose` with the same algorithms (JWE, A256KW, A256GCM).
import { randomBytes } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { sealing } from '../apps/ours.mjs';
import { median, ratio, rounded, spread } from '../frame/statistics.mjs';

export const columns = [
  'variant',
  'tokenBytes',
  'sealPerSecond',
  'openPerSecond',
  'sealUs',
  'openUs',
  'ofJoseSeal',
  'ofJoseOpen',
  'sealedBytes',
  'spread',
];

async function perSecond(work, seconds) {
  const until = performance.now() + seconds * 1000;
  const begun = performance.now();
  let done = 0;
  while (performance.now() < until) {
    for (let i = 0; i < 50; i++) await work();
    done += 50;
  }
  return (done * 1000) / (performance.now() - begun);
}

export async function run(context) {
  const { Sealer, LocalKeyRing } = await sealing();
  const key = randomBytes(32);
  const place = ['oauth_grants', 'refresh_token', '018f0000-0000-7000-8000-000000000000'];
  const sealer = new Sealer(new LocalKeyRing([{ id: '2026-11', bytes: key }]));
  const header = { alg: 'A256KW', enc: 'A256GCM', kid: '2026-11', ctx: place };
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const token = randomBytes(1125).toString('base64url');
  const josed = await new CompactEncrypt(encoder.encode(token)).setProtectedHeader(header).encrypt(key);
  const sealed = await sealer.seal(place, token);
  // Each opens the other's, or the comparison is of two different things.
  if ((await sealer.open(place, josed)) !== token) throw new Error('ours does not open what jose sealed');
  if (decoder.decode((await compactDecrypt(sealed, key)).plaintext) !== token)
    throw new Error('jose does not open what ours sealed');

  const variants = {
    jose: {
      sealed: josed,
      seal: async () => new CompactEncrypt(encoder.encode(token)).setProtectedHeader(header).encrypt(key),
      open: async () => decoder.decode((await compactDecrypt(josed, key)).plaintext),
    },
    ours: { sealed, seal: () => sealer.seal(place, token), open: () => sealer.open(place, sealed) },
  };
  const rounds = context.quick ? 3 : 7;
  const seconds = context.quick ? 0.4 : 1;
  const found = Object.fromEntries(Object.keys(variants).map((name) => [name, { seal: [], open: [] }]));
  for (const [, { seal, open }] of Object.entries(variants)) {
    await perSecond(seal, 0.3);
    await perSecond(open, 0.3);
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, { seal, open }] of Object.entries(variants)) {
      found[name].seal.push(await perSecond(seal, seconds));
      found[name].open.push(await perSecond(open, seconds));
    }
  }
  return Object.entries(found).map(([variant, { seal, open }]) => ({
    ...{ bench: 'seal', variant, tokenBytes: token.length, sealedBytes: variants[variant].sealed.length },
    ...{
      sealPerSecond: rounded(median(seal)),
      openPerSecond: rounded(median(open)),
      spread: rounded(Math.max(spread(seal), spread(open)), 2),
    },
    ...{ sealUs: rounded(1e6 / median(seal), 3), openUs: rounded(1e6 / median(open), 3) },
    ...{ ofJoseSeal: rounded(ratio(seal, found.jose.seal), 3), ofJoseOpen: rounded(ratio(open, found.jose.open), 3) },
    settings: variant === 'jose' ? 'CompactEncrypt and compactDecrypt, raw 32-byte key' : 'Sealer with LocalKeyRing',
  }));
}
