// Sender-constrained tokens (RFC 9449): a key per grant, proofs made with it, and the nonces that servers ask for.
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import * as client from 'openid-client';
import { sha256 } from '../crypto/digest.js';
import { randomToken } from '../crypto/random.js';

const ALGORITHM = 'ES256';
/** Origins remembered at most: a provider has two or three. */
const MAX_ORIGINS = 100;

/** A fresh private key as JSON text of a JWK: what is sealed and kept with the grant. */
export async function newDpopKey(): Promise<string> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const { kty, crv, x, y, d } = await exportJWK(privateKey);
  return JSON.stringify({ kty, crv, x, y, d });
}

/** SHA-256 thumbprint of a key's public half, as `dpop_jkt` and `cnf.jkt` name it (RFC 7638). */
export function dpopThumbprint(key: string): Promise<string> {
  return calculateJwkThumbprint(publicHalf(key));
}

/** The latest nonce of each server (RFC 9449 §8, §9), kept per origin: one server's nonce is never shown to another. */
export class DpopNonces {
  readonly #byOrigin = new Map<string, string>();

  /** The nonce to use next at this origin. */
  at(url: string | URL): string | undefined {
    return this.#byOrigin.get(new URL(url).origin);
  }

  /** Keeps the nonce of an answer, if it has one. @returns true when there was one */
  note(url: string | URL, headers: Headers): boolean {
    const nonce = headers.get('dpop-nonce');
    // RFC 9449 §8.1: NQCHAR.
    if (nonce === null || !/^[\x21\x23-\x5b\x5d-\x7e]{1,1024}$/.test(nonce)) return false;
    const { origin } = new URL(url);
    if (this.#byOrigin.size >= MAX_ORIGINS && !this.#byOrigin.has(origin)) this.#byOrigin.clear();
    this.#byOrigin.set(origin, nonce);
    return true;
  }
}

/** The protocol library's handle on a key, for requests to the authorization server. */
export async function dpopHandle(
  config: client.Configuration,
  key: string,
  nonces: DpopNonces,
): Promise<client.DPoPHandle> {
  const [privateKey, publicKey] = await Promise.all([
    importJWK(JSON.parse(key) as JWK, ALGORITHM) as Promise<client.CryptoKey>,
    importJWK(publicHalf(key), ALGORITHM, { extractable: true }) as Promise<client.CryptoKey>,
  ]);
  return client.getDPoPHandle(
    config,
    { privateKey, publicKey },
    {
      // The library remembers nonces per key; a server's nonce is good for all keys.
      [client.modifyAssertion]: (_header, payload) => {
        const nonce = nonces.at(payload.htu as string);
        if (nonce !== undefined) payload.nonce = nonce;
      },
    },
  );
}

/**
 * A proof for one request to an API, where the answer is streamed and the protocol library has no part.
 * @see RFC 9449 §4.2
 */
export async function apiProof(
  key: string,
  request: { method: string; url: URL; accessToken: string; nonce: string | undefined },
): Promise<string> {
  const claims = {
    jti: randomToken(),
    htm: request.method,
    htu: request.url.origin + request.url.pathname,
    ath: sha256(request.accessToken).toString('base64url'),
    ...(request.nonce === undefined ? {} : { nonce: request.nonce }),
  };
  return new SignJWT(claims)
    .setProtectedHeader({ alg: ALGORITHM, typ: 'dpop+jwt', jwk: publicHalf(key) })
    .setIssuedAt()
    .sign(await importJWK(JSON.parse(key) as JWK, ALGORITHM));
}

/** True when an API refuses a proof only for want of its latest nonce (RFC 9449 §9); schemes know no case. */
export function wantsNonce(response: Response): boolean {
  if (response.status !== 401) return false;
  const challenges = response.headers.get('www-authenticate') ?? '';
  // One after the other: together, a header full of the first word would be gone through from each of them.
  const at = challenges.search(/\bdpop\b/i);
  return at !== -1 && /\buse_dpop_nonce\b/i.test(challenges.slice(at));
}

function publicHalf(key: string): JWK {
  const { d: _private, ...jwk } = JSON.parse(key) as JWK;
  return jwk;
}
