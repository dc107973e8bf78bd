// Secrets at rest: exactly compact JWE with A256KW and A256GCM, bound to their place; `jose` is the oracle both ways.
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { KeyRing, LocalKeyRing, UnknownKeyError } from '../../../src/crypto/key-ring.js';
import { type SealContext, sealedKeyId, Sealer } from '../../../src/crypto/sealing.js';
import { OAuthError } from '../../../src/errors/oauth-error.js';
import '../../support/fixed-seed.js';

const KEY = randomBytes(32);
const OTHER = randomBytes(32);
const sealer = new Sealer(new LocalKeyRing([{ id: 'a', bytes: KEY }]));
const HERE: SealContext = ['oauth_grants', 'refresh_token', 'row-1'];

/** The error of something that must not open. */
async function refusal(open: Promise<string>): Promise<OAuthError> {
  const error: unknown = await open.then(
    () => new Error('it opened'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OAuthError);
  expect((error as OAuthError).code).toBe('key_unavailable');
  return error as OAuthError;
}

const part = (sealed: string, index: number): string => sealed.split('.')[index]!;
function replaced(sealed: string, index: number, value: string): string {
  const parts = sealed.split('.');
  parts[index] = value;
  return parts.join('.');
}
const header = (fields: object): string => Buffer.from(JSON.stringify(fields)).toString('base64url');

describe('sealing', () => {
  it('D-042 jose opens what we seal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 400 }), async (text) => {
        const { plaintext, protectedHeader } = await compactDecrypt(await sealer.seal(HERE, text), KEY);
        expect(Buffer.from(plaintext).toString()).toBe(text);
        expect(protectedHeader).toEqual({ alg: 'A256KW', enc: 'A256GCM', kid: 'a', ctx: HERE });
      }),
      { numRuns: 50 },
    );
  });

  it('D-042 we open what jose seals', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 400 }), async (text) => {
        const sealed = await new CompactEncrypt(Buffer.from(text))
          .setProtectedHeader({ alg: 'A256KW', enc: 'A256GCM', kid: 'a', ctx: HERE })
          .encrypt(KEY);
        expect(await sealer.open(HERE, sealed)).toBe(text);
      }),
      { numRuns: 50 },
    );
  });

  it('D-042 the vector of the first release opens for ever', async () => {
    const vector = new Sealer(
      new LocalKeyRing([{ id: '2026-11', bytes: Buffer.from('test-key-test-key-test-key-12345') }]),
    );
    expect(
      await vector.open(['oauth_grants', 'refresh_token', 'fake', 'https://issuer.example', 'user-1'], VECTOR),
    ).toBe('refresh-token-of-the-vector');
  });

  it('D-027 a shortened tag does not open', async () => {
    const sealed = await sealer.seal(HERE, 'secret');
    const tag = Buffer.from(part(sealed, 4), 'base64url');
    for (const length of [0, 4, 8, 12, 13, 14, 15])
      await refusal(sealer.open(HERE, replaced(sealed, 4, tag.subarray(0, length).toString('base64url'))));
    await refusal(sealer.open(HERE, replaced(sealed, 4, Buffer.concat([tag, tag]).toString('base64url'))));
  });

  it('D-028 other algorithms, more or fewer parts, zip and crit do not open', async () => {
    const sealed = await sealer.seal(HERE, 'secret');
    const good = { alg: 'A256KW', enc: 'A256GCM', kid: 'a', ctx: HERE };
    for (const fields of [
      { ...good, alg: 'dir' },
      { ...good, alg: 'A128KW' },
      { ...good, alg: 'a256kw' },
      { ...good, enc: 'A128GCM' },
      { ...good, enc: 'A256CBC-HS512' },
      { ...good, zip: 'DEF' },
      { ...good, crit: ['ctx'] },
      { ...good, kid: 5 },
      { ...good, kid: undefined },
      { ...good, ctx: undefined },
      [good],
      null,
      'text',
    ])
      await refusal(sealer.open(HERE, replaced(sealed, 0, header(fields as object))));
    const parts = sealed.split('.');
    for (const other of [parts.slice(0, 4), [...parts, 'x'], parts.slice(1), [], ['', '', '', '', '']])
      await refusal(sealer.open(HERE, other.join('.')));
    for (const alg of ['A128KW', 'dir'] as const) {
      const bytes = alg === 'dir' ? KEY : KEY.subarray(0, 16);
      const foreign = await new CompactEncrypt(Buffer.from('x'))
        .setProtectedHeader({ alg, enc: 'A256GCM', kid: 'a', ctx: HERE })
        .encrypt(bytes);
      await refusal(sealer.open(HERE, foreign));
    }
  });

  it('D-028 base64url has one spelling', async () => {
    const sealed = await sealer.seal(HERE, 'secret');
    for (let index = 0; index < 5; index++) {
      const text = part(sealed, index);
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const last = alphabet[alphabet.indexOf(text.at(-1)!) ^ 1]!;
      const spellings = [
        `${text}=`,
        `${text}==`,
        ` ${text}`,
        `${text}\n`,
        `${text.slice(0, 5)}\n${text.slice(5)}`,
        `${text}!`,
        `${text}+`,
      ];
      // The last character of a text whose length is no multiple of four holds unused bits.
      if (text.length % 4 !== 0) spellings.push(text.slice(0, -1) + last);
      for (const spelling of spellings) await refusal(sealer.open(HERE, replaced(sealed, index, spelling)));
    }
  });

  it('D-029 every value has a content key and an IV of its own', async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 20_000; round++) {
      // Long enough that no two ciphertexts agree by chance: of four bytes, some would in one run of twenty.
      const sealed = await sealer.seal(HERE, 'the same sixteen');
      seen.add(part(sealed, 1)).add(part(sealed, 2)).add(part(sealed, 3)).add(part(sealed, 4));
    }
    expect(seen.size).toBe(80_000);
  });

  it('D-030 D-031 a value opens in its own place only, and fields do not run together', async () => {
    const places: SealContext[] = [
      HERE,
      ['oauth_grants', 'refresh_token', 'row-2'],
      ['oauth_grants', 'dpop_key', 'row-1'],
      ['oauth_access_tokens', 'refresh_token', 'row-1'],
      ['oauth_grants', 'refresh_token', 'row-1', ''],
      ['oauth_grants', 'refresh_token', 'row', '-1'],
      ['oauth_grants', 'refresh_tokenr', 'ow-1'],
      ['oauth_grantsr', 'efresh_token', 'row-1'],
    ];
    for (const from of places) {
      const sealed = await sealer.seal(from, 'secret');
      for (const to of places) {
        if (from === to) expect(await sealer.open(to, sealed)).toBe('secret');
        else await refusal(sealer.open(to, sealed));
      }
      // Nor with a header that was made to fit.
      const forged = replaced(sealed, 0, header({ alg: 'A256KW', enc: 'A256GCM', kid: 'a', ctx: ['x', 'y', 'z'] }));
      await refusal(sealer.open(['x', 'y', 'z'], forged));
    }
  });

  it('D-031 the key id is authenticated', async () => {
    const two = new Sealer(new LocalKeyRing([{ id: 'a', bytes: KEY }, { id: 'b', bytes: KEY.map((byte) => byte ^ 1) }])); // prettier-ignore
    const sealed = await two.seal(HERE, 'secret');
    await refusal(two.open(HERE, replaced(sealed, 0, header({ alg: 'A256KW', enc: 'A256GCM', kid: 'b', ctx: HERE }))));
    // The same fields in another order are another header.
    await refusal(two.open(HERE, replaced(sealed, 0, header({ enc: 'A256GCM', alg: 'A256KW', kid: 'a', ctx: HERE }))));
  });

  it('D-033 an unknown key id is named as such, and no other key is tried', async () => {
    const asked: string[] = [];
    class Watching extends LocalKeyRing {
      override unwrap(keyId: string, encryptedKey: Uint8Array): Uint8Array {
        asked.push(keyId);
        return super.unwrap(keyId, encryptedKey);
      }
    }
    const sealed = await new Sealer(new LocalKeyRing([{ id: 'gone', bytes: KEY }])).seal(HERE, 'secret');
    const error = await refusal(new Sealer(new Watching([{ id: 'a', bytes: KEY }, { id: 'b', bytes: OTHER }])).open(HERE, sealed)); // prettier-ignore
    expect(error.cause).toBeInstanceOf(UnknownKeyError);
    expect((error.cause as UnknownKeyError).keyId).toBe('gone');
    expect(asked).toEqual(['gone']);
    expect(sealedKeyId(sealed)).toBe('gone');
    expect(sealedKeyId('plain text')).toBeUndefined();
  });

  it('D-034 reads with every key, writes with the first', async () => {
    const old = new Sealer(new LocalKeyRing([{ id: 'old', bytes: OTHER }]));
    const both = new Sealer(new LocalKeyRing([{ id: 'new', bytes: KEY }, { id: 'old', bytes: OTHER }])); // prettier-ignore
    expect(await both.open(HERE, await old.seal(HERE, 'secret'))).toBe('secret');
    expect(sealedKeyId(await both.seal(HERE, 'x'))).toBe('new');
  });

  it('D-037 D-038 one flipped bit anywhere: one answer, and nothing of the value', async () => {
    const canary = 'canary-plaintext-canary';
    const sealed = await sealer.seal(HERE, canary);
    const messages = new Set<string>();
    for (let index = 1; index < 5; index++) {
      const bytes = Buffer.from(part(sealed, index), 'base64url');
      for (let bit = 0; bit < bytes.length * 8; bit += 5) {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const error = await refusal(sealer.open(HERE, replaced(sealed, index, flipped.toString('base64url'))));
        messages.add(error.message);
        expect(inspect(error, { showHidden: true, depth: 9 })).not.toContain('canary');
      }
    }
    expect(messages.size).toBe(1);
  });

  it('D-045 a key ring that wipes the content key once it is wrapped loses nothing', async () => {
    class Wiping extends LocalKeyRing {
      override wrap(contentKey: Uint8Array) {
        const wrapped = super.wrap(contentKey);
        contentKey.fill(0);
        return wrapped;
      }
    }
    const wiping = new Sealer(new Wiping([{ id: 'a', bytes: KEY }]));
    expect(await sealer.open(HERE, await wiping.seal(HERE, 'secret'))).toBe('secret');
  });

  it.each([
    ['nothing', null],
    ['no key id', { encryptedKey: randomBytes(40) }],
    ['an empty key', { keyId: 'a', encryptedKey: new Uint8Array() }],
    ['text in place of bytes', { keyId: 'a', encryptedKey: randomBytes(40).toString('base64') }],
  ])('D-045 a key ring that answers %s seals nothing: what comes of it would never open', async (_, answer) => {
    const faults: unknown[] = [];
    const ring = {
      currentKeyId: 'a',
      keyIds: ['a'],
      wrap: () => answer,
      unwrap: () => KEY,
    } as unknown as KeyRing;
    await refusal(new Sealer(ring, (cause) => faults.push(cause)).seal(HERE, 'secret'));
    ring.wrap = () => Promise.resolve(answer as never);
    await refusal(new Sealer(ring, (cause) => faults.push(cause)).seal(HERE, 'secret'));
    expect(faults).toHaveLength(2);
  });

  it('opens nothing that it did not make', async () => {
    await fc.assert(fc.asyncProperty(fc.string(), async (text) => void (await refusal(sealer.open(HERE, text)))));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.base64String(), { minLength: 5, maxLength: 5 }),
        async (parts) => void (await refusal(sealer.open(HERE, parts.join('.')))),
      ),
    );
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('kms down');
      },
    ],
    ['rejects', () => Promise.reject(new Error('kms down'))],
    ['never answers', () => new Promise<never>(() => undefined)],
  ])('D-045 a key ring that %s is away, by a deadline', async (_, fail) => {
    class Kms extends KeyRing {
      readonly currentKeyId = 'kms';
      readonly keyIds = ['kms'];
      override wrap = fail;
      override unwrap = fail;
    }
    const began = performance.now();
    const error = await refusal(new Sealer(new Kms()).seal(HERE, 'canary-value'));
    expect(error.statusCode).toBe(503);
    expect(inspect(error)).not.toContain('canary');
    expect(performance.now() - began).toBeLessThan(7_000);
  });

  it.each([
    ['promises', <T>(answer: T) => Promise.resolve(answer)],
    // Of a client library with promises of its own.
    [
      'thenables',
      <T>(answer: T) =>
        ({ then: (done: (answer: T) => void) => void setImmediate(done, answer) }) as unknown as Promise<T>,
    ],
  ])('takes a key ring whose answers are %s', async (_, later) => {
    const local = new LocalKeyRing([{ id: 'kms', bytes: KEY }]);
    class Kms extends KeyRing {
      readonly currentKeyId = 'kms';
      readonly keyIds = ['kms'];
      override wrap = (key: Uint8Array) => later(local.wrap(key));
      override unwrap = (id: string, key: Uint8Array) => later(local.unwrap(id, key));
    }
    const kms = new Sealer(new Kms());
    expect(await kms.open(HERE, await kms.seal(HERE, 'secret'))).toBe('secret');
  });
});

const VECTOR =
  'eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiMjAyNi0xMSIsImN0eCI6WyJvYXV0aF9ncmFudHMiLCJyZWZyZXNoX3Rva2VuIiwiZmFrZSIsImh0dHBzOi8vaXNzdWVyLmV4YW1wbGUiLCJ1c2VyLTEiXX0.nvo7KSGfmBrts4_p2FvII09UWxvq0mRPNMcLPqCRiJaa-KGFfLCeAQ.xa8hTkIDpk1SUP9t.bl70zBqtIvWw8fE66BqeGCNKCMcc_yh8k9i2.selVkNp9OxK3F0rhPOzFxg';
