// The provider's signing keys: published, rotated, withdrawn, and surrounded by decoys.
import { generateKeyPair, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { JsonObject, SigningAlgorithm } from './behaviour.js';

/** A signing key and what the key set says about it. */
export interface SigningKey {
  kid: string;
  alg: SigningAlgorithm;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

/**
 * Keys in the set that must not be used: the same `kid` with another algorithm or key type, an encryption key, a private
 * key published by mistake, a weak RSA key, or a thousand keys.
 */
export type DecoyKind =
  'sameKidOtherAlg' | 'sameKidOtherKty' | 'encryptionUse' | 'privateMember' | 'weakRsa' | 'thousand';

/** The algorithms whose keys are published from the start. */
export const PUBLISHED_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const satisfies SigningAlgorithm[];

const CURVES: Record<string, string> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };
const makeRsa = promisify(generateKeyPair) as (type: 'rsa', options: { modulusLength: number }) => Promise<KeyPair>;

interface KeyPair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

/** The key set of one provider. */
export class SigningKeys {
  private current = new Map<SigningAlgorithm, SigningKey>();
  private retired: SigningKey[] = [];
  private decoys: { jwk: JsonObject; key: SigningKey }[] = [];

  private constructor(private rsa: KeyPair) {}

  /** Makes the first keys. RSA keys have 2048 bits; RS256 and PS256 share one under two names. */
  static async create(): Promise<SigningKeys> {
    const keys = new SigningKeys(await makeRsa('rsa', { modulusLength: 2048 }));
    for (const alg of PUBLISHED_ALGORITHMS) keys.forAlgorithm(alg);
    return keys;
  }

  /** The current key of an algorithm, made and published if there is none. @throws for MAC algorithms. */
  forAlgorithm(alg: SigningAlgorithm): SigningKey {
    const known = this.current.get(alg);
    if (known) return known;
    const made = this.make(alg);
    this.current.set(alg, made);
    return made;
  }

  /** A key that is published nowhere. */
  unpublished(alg: SigningAlgorithm): SigningKey {
    return { ...freshPair(alg), alg, kid: newKid(alg) };
  }

  /** Replaces all keys. The old ones stay published unless `keepOld` is false. */
  async rotate({ keepOld = true }: { keepOld?: boolean } = {}): Promise<void> {
    const algorithms = [...this.current.keys()];
    const old = [...this.current.values()];
    this.rsa = await makeRsa('rsa', { modulusLength: 2048 });
    this.retired = keepOld ? [...this.retired, ...old] : [];
    this.current = new Map(algorithms.map((alg) => [alg, this.make(alg)]));
  }

  /** Publishes decoys; each remains until `clearDecoys()`. */
  addDecoys(...kinds: DecoyKind[]): void {
    for (const kind of kinds) this.decoys.push(...decoysOf(kind, this.forAlgorithm('RS256')));
  }

  /** Takes all decoys back. */
  clearDecoys(): void {
    this.decoys = [];
  }

  /** The first decoy's key, to sign with. @throws if no decoy is published. */
  decoy(): SigningKey {
    const first = this.decoys[0];
    if (!first) throw new Error('addDecoys() first: there is no decoy key to sign with');
    return first.key;
  }

  /** The key set as published: decoys first, because a careless client takes the first that looks right. */
  jwks(): { keys: JsonObject[] } {
    const honest = [...this.current.values(), ...this.retired].map(publicJwk);
    return { keys: [...this.decoys.map(({ jwk }) => jwk), ...honest] };
  }

  private make(alg: SigningAlgorithm): SigningKey {
    const pair = /^[RP]S/.test(alg) ? this.rsa : freshPair(alg);
    return { ...pair, alg, kid: newKid(alg) };
  }
}

/** A key as the key set shows it. */
export function publicJwk(key: SigningKey): JsonObject {
  return { ...key.publicKey.export({ format: 'jwk' }), kid: key.kid, alg: key.alg, use: 'sig' };
}

function newKid(alg: string): string {
  return `${alg.toLowerCase()}-${randomBytes(6).toString('hex')}`;
}

function freshPair(alg: SigningAlgorithm): KeyPair {
  if (/^[RP]S/.test(alg)) return generateKeyPairSync('rsa', { modulusLength: 2048 });
  if (alg === 'EdDSA' || alg === 'Ed25519') return generateKeyPairSync('ed25519');
  const namedCurve = CURVES[alg];
  if (!namedCurve) throw new Error(`FakeProvider has no key pair for the algorithm ${alg}`);
  return generateKeyPairSync('ec', { namedCurve });
}

function decoysOf(kind: DecoyKind, honest: SigningKey): { jwk: JsonObject; key: SigningKey }[] {
  const rsa = (bits = 2048): SigningKey => ({
    ...generateKeyPairSync('rsa', { modulusLength: bits }),
    alg: 'RS256',
    kid: newKid('decoy'),
  });
  switch (kind) {
    case 'sameKidOtherAlg': {
      const key: SigningKey = { ...rsa(), kid: honest.kid, alg: 'PS256' };
      return [{ key, jwk: publicJwk(key) }];
    }
    case 'sameKidOtherKty': {
      const key: SigningKey = { ...freshPair('ES256'), kid: honest.kid, alg: 'ES256' };
      return [{ key, jwk: publicJwk(key) }];
    }
    case 'encryptionUse': {
      const key = { ...rsa(), kid: honest.kid };
      return [{ key, jwk: { ...publicJwk(key), use: 'enc', alg: 'RSA-OAEP-256' } }];
    }
    case 'privateMember': {
      const key = rsa();
      return [{ key, jwk: { ...key.privateKey.export({ format: 'jwk' }), kid: key.kid, alg: 'RS256', use: 'sig' } }];
    }
    case 'weakRsa': {
      const key = rsa(512);
      return [{ key, jwk: publicJwk(key) }];
    }
    case 'thousand': {
      const pattern = { ...freshPair('ES256'), alg: 'ES256' as const };
      const keys = Array.from({ length: 1000 }, () => ({ ...pattern, kid: newKid('decoy') }));
      return keys.map((key) => ({ key, jwk: publicJwk(key) }));
    }
  }
}
