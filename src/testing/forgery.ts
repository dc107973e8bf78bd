// Signatures no honest server makes: each way of forging a token has a name and can be switched on per kind of token.
import { randomBytes } from 'node:crypto';
import type { JsonObject, SigningAlgorithm } from './behaviour.js';
import { encodeJson, signCompact } from './jws.js';
import { publicJwk, type SigningKeys } from './signing-keys.js';

/** Kinds of signed tokens. */
export type ForgeTarget = 'idToken' | 'userinfo' | 'jarm' | 'logoutToken';

/** A way to forge a token. */
export type Forgery =
  /** The right key, but bits of the signature flipped. */
  | { kind: 'badSignature' }
  /** No signature, under this `alg` (`none` by default; `null` leaves the member out). */
  | { kind: 'unsigned'; alg?: string | null }
  /** HS256 keyed with a published RSA public key, in the spelling given. */
  | { kind: 'hmacPublicKey'; format?: 'pem' | 'der' | 'jwk' }
  /** Rightly signed with another algorithm of this server. */
  | { kind: 'algorithm'; alg: SigningAlgorithm }
  /** An attacker's key under the `kid` of a published one. */
  | { kind: 'foreignKey' }
  /** An attacker's key under a new `kid` each time. */
  | { kind: 'unknownKid' }
  /** The first key of `addDecoys()`. */
  | { kind: 'decoyKey' }
  /** An attacker's key that the header itself recommends; URLs lead to the provider's trap. */
  | { kind: 'headerKey'; by: 'jwk' | 'jku' | 'x5u' }
  /** The right key over another payload: doubled members, arrays, broken JSON. */
  | { kind: 'payload'; rewrite: (json: string) => string };

/** Everything that goes into a signed token. */
export interface Signable {
  claims: JsonObject;
  header: JsonObject;
  /** MAC key of HS algorithms. */
  secret: string;
}

/** Signs honestly, unless a forgery is given. */
export function signToken(keys: SigningKeys, token: Signable, forgery: Forgery | undefined, trapUrl: string): string {
  const { claims, header } = token;
  switch (forgery?.kind) {
    case undefined:
      return signHonestly(keys, header, encodeJson(claims), token.secret);
    case 'badSignature':
      return corrupted(signHonestly(keys, header, encodeJson(claims), token.secret));
    case 'unsigned': {
      const { alg = 'none' } = forgery;
      const { alg: _, ...rest } = header;
      return `${encodeJson(alg === null ? rest : { ...rest, alg })}.${encodeJson(claims)}.`;
    }
    case 'hmacPublicKey': {
      const key = keys.forAlgorithm('RS256');
      const secret = macKeyOf(keys, forgery.format ?? 'pem');
      return signCompact(encodeJson({ ...header, alg: 'HS256', kid: key.kid }), encodeJson(claims), 'HS256', secret);
    }
    case 'algorithm':
      return signHonestly(keys, { ...header, alg: forgery.alg }, encodeJson(claims), token.secret);
    case 'foreignKey':
    case 'unknownKid':
    case 'headerKey': {
      const alg = asymmetric(header.alg);
      const key = keys.unpublished(alg);
      const kid =
        forgery.kind === 'foreignKey' ? keys.forAlgorithm(alg).kid : `unknown-${randomBytes(8).toString('hex')}`;
      const by =
        forgery.kind === 'headerKey'
          ? { [forgery.by]: forgery.by === 'jwk' ? publicJwk({ ...key, kid }) : `${trapUrl}/${forgery.by}` }
          : {};
      return signCompact(encodeJson({ ...header, alg, kid, ...by }), encodeJson(claims), alg, key.privateKey);
    }
    case 'decoyKey': {
      const key = keys.decoy();
      const alg = key.privateKey.asymmetricKeyType === 'rsa' ? 'RS256' : key.alg;
      return signCompact(encodeJson({ ...header, alg, kid: key.kid }), encodeJson(claims), alg, key.privateKey);
    }
    case 'payload': {
      const payload = Buffer.from(forgery.rewrite(JSON.stringify(claims))).toString('base64url');
      return signHonestly(keys, header, payload, token.secret);
    }
  }
}

function signHonestly(keys: SigningKeys, header: JsonObject, payload: string, secret: string): string {
  const alg = String(header.alg);
  if (/^HS\d{3}$/.test(alg)) {
    const { kid: _, ...rest } = header;
    return signCompact(encodeJson(rest), payload, alg, secret);
  }
  // Whatever is no algorithm (a tampered `none`, a number) gets no signature.
  if (!/^([RPE]S\d{3}|EdDSA|Ed25519)$/.test(alg)) return `${encodeJson(header)}.${payload}.`;
  const key = keys.forAlgorithm(alg as SigningAlgorithm);
  return signCompact(encodeJson({ kid: key.kid, ...header }), payload, alg, key.privateKey);
}

function asymmetric(alg: unknown): SigningAlgorithm {
  return typeof alg === 'string' && /^([RPE]S\d{3}|EdDSA|Ed25519)$/.test(alg) ? (alg as SigningAlgorithm) : 'RS256';
}

function corrupted(token: string): string {
  const at = token.lastIndexOf('.') + 1;
  const bytes = Buffer.from(token.slice(at), 'base64url');
  bytes[0] = (bytes[0] ?? 0) ^ 0x55;
  return token.slice(0, at) + bytes.toString('base64url');
}

function macKeyOf(keys: SigningKeys, format: 'pem' | 'der' | 'jwk'): string | Uint8Array {
  const { publicKey } = keys.forAlgorithm('RS256');
  if (format === 'jwk') return JSON.stringify(publicJwk(keys.forAlgorithm('RS256')));
  if (format === 'pem') return publicKey.export({ type: 'spki', format: 'pem' });
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** Forgeries that are switched on. */
export class ForgeryRegistry {
  private active: { target: ForgeTarget; forgery: Forgery; left: number }[] = [];

  /** Switches a forgery on, `times` times or until it is taken back with the function returned. */
  add(target: ForgeTarget, forgery: Forgery, times = Infinity): () => void {
    const entry = { target, forgery, left: times };
    this.active.push(entry);
    return () => {
      this.active = this.active.filter((other) => other !== entry);
    };
  }

  /** Switches all off, or those of one target. */
  clear(target?: ForgeTarget): void {
    this.active = target === undefined ? [] : this.active.filter((entry) => entry.target !== target);
  }

  /** The forgery for the next token of this kind. */
  take(target: ForgeTarget): Forgery | undefined {
    const entry = this.active.find((candidate) => candidate.target === target && candidate.left > 0);
    if (entry) entry.left -= 1;
    return entry?.forgery;
  }
}
