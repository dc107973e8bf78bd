// Signs compact JWS with node:crypto: cheap, and free to sign what no honest library would.
import { constants, createHmac, sign, type KeyObject, type SignKeyObjectInput } from 'node:crypto';
import type { JsonObject, SigningAlgorithm } from './behaviour.js';

/** A key as signing needs it: a private key, or the bytes of a MAC key. */
export type SigningMaterial = KeyObject | Uint8Array | string;

/** Base64url of a JSON value's text. */
export function encodeJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** Signs header and payload, both already base64url encoded. @throws for an algorithm that is not known here. */
export function signCompact(header: string, payload: string, alg: string, key: SigningMaterial): string {
  const input = Buffer.from(`${header}.${payload}`);
  return `${header}.${payload}.${signature(alg as SigningAlgorithm, input, key).toString('base64url')}`;
}

/** Header and claims of a compact JWS, unverified; undefined if it is none. */
export function decodeUnverified(token: string): { header: JsonObject; claims: JsonObject } | undefined {
  const [header, claims] = token.split('.');
  try {
    return { header: decodeJson(header), claims: decodeJson(claims) };
  } catch {
    return undefined;
  }
}

function decodeJson(part: string | undefined): JsonObject {
  return JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as JsonObject;
}

function signature(alg: SigningAlgorithm, input: Buffer, key: SigningMaterial): Buffer {
  const digest = `sha${alg.slice(2)}`;
  if (alg.startsWith('HS')) return createHmac(digest, key).update(input).digest();
  if (typeof key === 'string' || key instanceof Uint8Array) throw new Error(`${alg} needs a private key`);
  switch (alg.slice(0, 2)) {
    case 'RS':
      return sign(digest, input, key);
    case 'PS': {
      const padded: SignKeyObjectInput = {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: Number(alg.slice(2)) / 8,
      };
      return sign(digest, input, padded);
    }
    case 'ES':
      return sign(digest, input, { key, dsaEncoding: 'ieee-p1363' });
    case 'Ed':
      return sign(null, input, key);
    default:
      throw new Error(`FakeProvider cannot sign with the algorithm ${alg}`);
  }
}
