// Signatures with a key pair: `jose` and the vectors of the RFCs are the oracles; nothing is accepted that jose refuses.
import { generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import {
  CompactSign,
  compactVerify,
  createLocalJWKSet,
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose';
import { isSignature } from '../../../src/crypto/signature.js';
import { SIGNATURE_ALGORITHMS } from '../../../src/options/signature-algorithms.js';
import { assertSigned, parsedJws } from '../../../src/providers/jws.js';
import '../../support/fixed-seed.js';

const subtle = globalThis.crypto.subtle;
const pairs = new Map<string, Awaited<ReturnType<typeof generateKeyPair>>>();

async function pairOf(alg: string) {
  // Signatures of 384 bytes end without spare bits: one character more is none of them.
  const modulusLength = alg.startsWith('RS') ? 3_072 : 2_048;
  const pair = pairs.get(alg) ?? (await generateKeyPair(alg, { extractable: true, modulusLength }));
  pairs.set(alg, pair);
  return pair;
}
async function signed(alg: string, text = '{"sub":"alice"}'): Promise<string> {
  const { privateKey } = await pairOf(alg);
  return new CompactSign(Buffer.from(text)).setProtectedHeader({ alg }).sign(privateKey);
}
const split = (jws: string) => {
  const dot = jws.lastIndexOf('.');
  return { signed: Buffer.from(jws.slice(0, dot)), signature: Buffer.from(jws.slice(dot + 1), 'base64url') };
};
const flipped = (bytes: Buffer, bit: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
};

describe('signatures', () => {
  it.each(SIGNATURE_ALGORITHMS)('A-081 %s: what jose signs, and not one bit else', async (alg) => {
    const { publicKey: key } = await pairOf(alg);
    const jws = split(await signed(alg));
    expect(isSignature(jws.signature, { alg, key, signed: jws.signed })).toBe(true);
    for (let bit = 0; bit < jws.signature.length * 8; bit += 7)
      expect(isSignature(flipped(jws.signature, bit), { alg, key, signed: jws.signed })).toBe(false);
    for (let bit = 0; bit < jws.signed.length * 8; bit += 7)
      expect(isSignature(jws.signature, { alg, key, signed: flipped(jws.signed, bit) })).toBe(false);
    const { signature } = jws;
    const odd = [
      ...[Buffer.alloc(0), Buffer.alloc(signature.length), signature.subarray(1), signature.subarray(0, -1)],
      ...[Buffer.concat([signature, Buffer.alloc(1)]), Buffer.concat([Buffer.alloc(1), signature])],
    ];
    for (const other of odd) expect(isSignature(other, { alg, key, signed: jws.signed })).toBe(false);
    const { publicKey: stranger } = await generateKeyPair(alg);
    expect(isSignature(signature, { alg, key: stranger, signed: jws.signed })).toBe(false);
  });

  it.each(['RS256', 'PS256', 'PS384', 'PS512'])(
    'A-081 %s: none that begins with a zero is one without it as well',
    async (alg) => {
      const { publicKey: key } = await pairOf(alg);
      // One in 256 begins so.
      for (let number = 0; ; number++) {
        const jws = split(await signed(alg, `{"sub":"${number}"}`));
        if (jws.signature[0] !== 0) continue;
        expect(isSignature(jws.signature, { alg, key, signed: jws.signed })).toBe(true);
        expect(isSignature(jws.signature.subarray(1), { alg, key, signed: jws.signed })).toBe(false);
        return;
      }
    },
  );

  it('A-081 of another algorithm than the header names, or for another kind of key: not one', async () => {
    for (const made of SIGNATURE_ALGORITHMS) {
      const jws = split(await signed(made));
      for (const named of [...SIGNATURE_ALGORITHMS, 'none', 'HS256', 'ES256K', '', 'constructor']) {
        const same = named === made || [named, made].every((alg) => alg === 'EdDSA' || alg === 'Ed25519');
        for (const owner of SIGNATURE_ALGORITHMS) {
          if (same && owner === made) continue;
          const { publicKey: key } = await pairOf(owner);
          expect([named, owner, isSignature(jws.signature, { alg: named, key, signed: jws.signed })]).toEqual([
            named,
            owner,
            false,
          ]);
        }
      }
    }
  });

  it('A-081 with a secret or a private key: none', async () => {
    const jws = split(await signed('RS256'));
    const secret = await subtle.importKey('raw', Buffer.alloc(32), { name: 'HMAC', hash: 'SHA-256' }, true, ['verify']);
    const { privateKey } = await pairOf('RS256');
    for (const key of [secret, privateKey])
      expect(isSignature(jws.signature, { alg: 'RS256', key, signed: jws.signed })).toBe(false);
  });

  it('A-081 with an RSA key that can be factored, however it is spelled: none', async () => {
    for (const [modulusLength, good] of [
      [1_024, false],
      [2_047, false],
      [2_048, true],
      [3_072, true],
    ] as const) {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
      const bytes = Buffer.from('signed');
      const signature = sign('sha256', bytes, privateKey);
      const jwk = publicKey.export({ format: 'jwk' }) as JWK;
      const padded = Buffer.concat([Buffer.alloc(256), Buffer.from(jwk.n!, 'base64url')]).toString('base64url');
      for (const n of [jwk.n, padded]) {
        const key = (await importJWK({ ...jwk, n }, 'RS256')) as CryptoKey;
        expect(isSignature(signature, { alg: 'RS256', key, signed: bytes })).toBe(good);
      }
    }
  });

  it('numbers of ECDSA as ASN.1 spells them, and PSS with another salt, are refused as jose does', async () => {
    const { privateKey, publicKey: key } = await pairOf('PS256');
    const { signed: bytes } = split(await signed('PS256'));
    const pkcs8 = await subtle.exportKey('pkcs8', privateKey);
    const pss = await subtle.importKey('pkcs8', pkcs8, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign']);
    for (const [saltLength, good] of [
      [32, true],
      [0, false],
      [31, false],
      [64, false],
    ] as const) {
      const signature = Buffer.from(await subtle.sign({ name: 'RSA-PSS', saltLength }, pss, bytes));
      expect(isSignature(signature, { alg: 'PS256', key, signed: bytes })).toBe(good);
    }
    const { publicKey } = await pairOf('ES256');
    const ecdsa = split(await signed('ES256'));
    const integer = (part: Buffer): Buffer => {
      const value = part[0]! > 127 ? Buffer.concat([Buffer.alloc(1), part]) : part;
      return Buffer.concat([Buffer.from([2, value.length]), value]);
    };
    const body = Buffer.concat([integer(ecdsa.signature.subarray(0, 32)), integer(ecdsa.signature.subarray(32))]);
    const der = Buffer.concat([Buffer.from([48, body.length]), body]);
    expect(isSignature(der, { alg: 'ES256', key: publicKey, signed: ecdsa.signed })).toBe(false);
  });

  it.each<[string, JWK, string]>([
    [
      'RFC 7515 A.3',
      { kty: 'EC', crv: 'P-256', x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU', y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0' },
      'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q',
    ],
    [
      'RFC 8037 A.4',
      { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
      'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
    ],
  ])('the vector of %s', async (_, jwk, jws) => {
    const { header, ...rest } = parsedJws(jws, SIGNATURE_ALGORITHMS);
    const key = (await importJWK(jwk, header.alg)) as CryptoKey;
    expect(isSignature(rest.signature, { alg: header.alg, key, signed: rest.signed })).toBe(true);
    expect(isSignature(rest.signature, { alg: header.alg, key, signed: flipped(rest.signed, 99) })).toBe(false);
  }); // prettier-ignore

  it('A-081 nothing is accepted of a damaged token that jose refuses', async () => {
    const tokens = await Promise.all(SIGNATURE_ALGORITHMS.map((alg) => signed(alg)));
    const keys = await Promise.all(
      SIGNATURE_ALGORITHMS.map(async (alg) => ({ ...(await exportJWK((await pairOf(alg)).publicKey)), alg })),
    );
    const find = createLocalJWKSet({ keys });
    const verdict = (judged: Promise<unknown>): Promise<boolean> =>
      judged.then(
        () => true,
        () => false,
      );
    const ours = async (jws: string): Promise<void> => assertSigned(parsedJws(jws, SIGNATURE_ALGORITHMS), find);
    const damage = fc.record({
      token: fc.constantFrom(...tokens),
      at: fc.nat(),
      put: fc.constantFrom('A', 'z', '9', '_', '-', '.', '=', ' ', '', '+', '/', '\n', 'é'),
      cut: fc.nat(2),
    });
    for (const token of tokens) {
      expect(await verdict(ours(token))).toBe(true);
      for (const more of ['A', '_', '=', '.', 'AA', 'AAA', 'AAAA'])
        expect(await verdict(ours(token + more))).toBe(false);
    }
    await fc.assert(
      fc.asyncProperty(damage, async ({ token, at, put, cut }) => {
        const place = at % (token.length + 1);
        const damaged = token.slice(0, place) + put + token.slice(place + cut);
        const accepted = await verdict(ours(damaged));
        const judged = await verdict(compactVerify(damaged, find, { algorithms: [...SIGNATURE_ALGORITHMS] }));
        expect(accepted && !judged).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });
});
