// Verifies DPoP proofs and hands out nonces (RFC 9449), for the authorization server and the resource server apart.
import { createHash, randomBytes } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify, type JWK } from 'jose';
import { ProtocolError } from './answer.js';
import type { NonceMode } from './behaviour.js';
import { decodeUnverified } from './jws.js';
import type { LoggedRequest } from './request-log.js';

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'PS256', 'PS384', 'PS512', 'RS256'];
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'];
const PROOF_LIFETIME = 300;
const REMEMBERED = 1000;

/** One server's view on proofs: its nonces and the proofs it has seen. */
export class DpopGate {
  private nonce = newNonce();
  private readonly recent = new Set<string>();
  private readonly seen = new Set<string>();

  constructor(private readonly mode: () => NonceMode) {}

  /** Header for a good answer: the nonce to use next. */
  nonceHeader(): Record<string, string> {
    const mode = this.mode();
    if (mode === 'off') return {};
    if (mode === 'rotating') this.turn();
    return { 'dpop-nonce': this.nonce };
  }

  /**
   * Checks the proof of a request, if there is one, and returns the thumbprint of its key.
   *
   * @throws ProtocolError `invalid_dpop_proof` or `use_dpop_nonce`, the latter with the nonce in its headers.
   */
  async check(request: LoggedRequest, url: string, now: number, accessToken?: string): Promise<string | undefined> {
    const proofs = request.rawHeaders.filter(
      (_, at) => at % 2 === 1 && request.rawHeaders[at - 1]?.toLowerCase() === 'dpop',
    );
    const proof = proofs[0];
    if (proof === undefined) return undefined;
    const { header, claims } = decodeUnverified(proof) ?? { header: {}, claims: {} };
    request.dpop = { header, claims };
    try {
      if (proofs.length > 1) throw invalid('more than one DPoP header');
      const jkt = await this.verify(proof, { request, url, now, accessToken });
      request.dpop.jkt = jkt;
      return jkt;
    } catch (error) {
      const problem = error instanceof ProtocolError ? error : invalid(String(error));
      request.dpop.problem = problem.description;
      throw problem;
    }
  }

  private async verify(
    proof: string,
    given: { request: LoggedRequest; url: string; now: number; accessToken?: string | undefined },
  ): Promise<string> {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ALGORITHMS,
      currentDate: new Date(given.now * 1000),
    });
    const jwk = protectedHeader.jwk as JWK & Record<string, unknown>;
    if (PRIVATE_MEMBERS.some((member) => member in jwk)) throw invalid('jwk holds private members');
    if (payload.htm !== given.request.method) throw invalid('htm is not the method');
    if (payload.htu !== given.url) throw invalid(`htu ${String(payload.htu)} is not ${given.url}`);
    if (typeof payload.iat !== 'number' || Math.abs(payload.iat - given.now) > PROOF_LIFETIME)
      throw invalid('iat is off');
    if (typeof payload.jti !== 'string' || payload.jti.length < 16) throw invalid('jti is missing or short');
    const hash = given.accessToken === undefined ? undefined : sha256(given.accessToken);
    if (payload.ath !== hash) throw invalid('ath does not fit the access token');
    if (this.seen.has(payload.jti)) throw invalid('jti was used before');
    if (this.seen.size >= 100 * REMEMBERED) this.seen.clear();
    this.seen.add(payload.jti);
    this.checkNonce(payload.nonce);
    return calculateJwkThumbprint(jwk);
  }

  private checkNonce(nonce: unknown): void {
    const mode = this.mode();
    if (mode === 'off') return;
    // Parallel requests carry nonces that were replaced meanwhile; the log tells which one each request used.
    const known = nonce === this.nonce || (mode === 'rotating' && this.recent.has(String(nonce)));
    if (known && mode !== 'endless') return;
    if (mode === 'endless') this.turn();
    throw new ProtocolError('use_dpop_nonce', 'a nonce of this server is needed', 400, { 'dpop-nonce': this.nonce });
  }

  private turn(): void {
    if (this.recent.size >= REMEMBERED) this.recent.clear();
    this.recent.add(this.nonce);
    this.nonce = newNonce();
  }
}

function invalid(description: string): ProtocolError {
  return new ProtocolError('invalid_dpop_proof', description);
}

function newNonce(): string {
  return `nonce_${randomBytes(12).toString('base64url')}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
