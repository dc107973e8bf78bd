// @ts-check
// A tiny API beside the identity provider that checks the access token it is given, Bearer or DPoP.
// @see RFC 6750 and RFC 9449, section 7
import { createHash } from 'node:crypto';
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose';

/** What the API needs to know of a token. @typedef {{ accountId: string, jkt?: string }} KnownToken */

/**
 * Judges the `Authorization` header of a request.
 *
 * @param {import('node:http').IncomingMessage} request
 * @param {{ url: string, find: (token: string) => Promise<KnownToken | undefined> }} api `url` is the address called,
 *   without query; `find` gives a live token or nothing.
 * @returns {Promise<{ token: KnownToken } | { challenge: string }>} `challenge` is a `WWW-Authenticate` value for a 401.
 */
export async function judgeAccess(request, { url, find }) {
  const [, scheme = '', value = ''] = /^(Bearer|DPoP) ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (!value) return { challenge: 'Bearer realm="api"' };

  const token = await find(value);
  const expected = token?.jkt ? 'dpop' : 'bearer';
  if (!token || scheme.toLowerCase() !== expected)
    return { challenge: `${token?.jkt ? 'DPoP' : 'Bearer'} error="invalid_token"` };
  if (token.jkt && !(await isProofGood(request, { url, value, jkt: token.jkt }))) {
    return { challenge: 'DPoP error="invalid_dpop_proof"' };
  }
  return { token };
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {{ url: string, value: string, jkt: string }} expected
 */
async function isProofGood(request, { url, value, jkt }) {
  const proof = request.headers.dpop;
  if (typeof proof !== 'string') return false;
  try {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', maxTokenAge: 60 });
    const { jwk } = protectedHeader;
    const ath = createHash('sha256').update(value).digest('base64url');
    const said = {
      htm: payload.htm,
      htu: payload.htu,
      ath: payload.ath,
      jkt: jwk && (await calculateJwkThumbprint(jwk)),
    };
    return JSON.stringify(said) === JSON.stringify({ htm: request.method, htu: url, ath, jkt });
  } catch {
    return false;
  }
}
