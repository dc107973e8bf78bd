// Codes, grants (refresh token families) and tokens, with the counters a test asks for.
import { randomBytes } from 'node:crypto';
import type { FakeUser } from './behaviour.js';

/** What one consent allowed: the family that all its tokens belong to. */
export interface FakeGrant {
  id: number;
  clientId: string;
  user: FakeUser;
  /** Scope as it was asked for. */
  scope: string;
  resources: string[];
  authorizationDetails?: unknown;
  nonce?: string;
  sid: string;
  /** Seconds since the epoch; undefined where the ID token must not say it. */
  authTime?: number;
  acr?: string;
  /** Thumbprint of the DPoP key that refresh tokens of a public client are bound to. */
  jkt?: string;
  revoked: boolean;
  /** Access tokens made so far. */
  accessTokens: number;
}

/** An authorization code. */
export interface FakeCode {
  value: string;
  grant: FakeGrant;
  redirectUri: string;
  redirectUriSent: boolean;
  challenge?: string;
  challengeMethod?: string;
  /** Thumbprint the code is bound to (`dpop_jkt`, or the proof of a pushed request). */
  jkt?: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
  used: boolean;
}

/** An access token. */
export interface FakeAccessToken {
  value: string;
  grant: FakeGrant;
  scope: string;
  resources: string[];
  jkt?: string;
  /** Milliseconds since the epoch, or Infinity. */
  expiresAt: number;
  revoked: boolean;
  /** 1 for the first of its grant, 2 after one refresh. */
  generation: number;
  /** Requests the resource server and userinfo accepted with it. */
  uses: number;
}

/** A refresh token. */
export interface FakeRefreshToken {
  value: string;
  grant: FakeGrant;
  revoked: boolean;
  /** Milliseconds since the epoch, or Infinity. */
  expiresAt: number;
  /** When it was exchanged for its successor, in milliseconds since the epoch. */
  spentAt?: number;
}

/** Something secret that this provider gave out. */
export interface IssuedSecret {
  kind: 'code' | 'accessToken' | 'refreshToken' | 'idToken';
  value: string;
  sub: string;
  clientId: string;
  /** Grant it belongs to. */
  grant: number;
}

/** What happened so far. */
export interface FakeCounters {
  /** Codes exchanged. */
  codeExchanges: number;
  /** Codes that came a second time. */
  codeReuses: number;
  /** Refreshes carried out. */
  refreshes: number;
  /** How often a spent refresh token came back after the grace period, also when its family was gone already. */
  refreshReuses: number;
  /** Families revoked because of such reuse. */
  familiesRevoked: number;
}

/** All that was issued. */
export class TokenStore {
  readonly codes = new Map<string, FakeCode>();
  readonly accessTokens = new Map<string, FakeAccessToken>();
  readonly refreshTokens = new Map<string, FakeRefreshToken>();
  readonly issued: IssuedSecret[] = [];
  counters: FakeCounters = noCounts();
  private grants = 0;

  /** Numbers a new grant. */
  nextGrantId(): number {
    this.grants += 1;
    return this.grants;
  }

  /** Keeps a code; forgets those that expired long ago, so that long runs stay small. */
  addCode(code: FakeCode): void {
    this.codes.set(code.value, code);
    for (const [value, old] of this.codes) {
      if (old.expiresAt + 600_000 > Date.now()) break;
      this.codes.delete(value);
    }
  }

  /** Ends a family: none of its tokens works again. True if it was alive. */
  revokeGrant(grant: FakeGrant): boolean {
    const alive = !grant.revoked;
    grant.revoked = true;
    return alive;
  }

  /** Ends all families of a user, also those of which there is only a code. */
  revokeUser(sub: string): void {
    for (const token of [...this.codes.values(), ...this.refreshTokens.values(), ...this.accessTokens.values()]) {
      if (token.grant.user.sub === sub) token.grant.revoked = true;
    }
  }

  /** Makes access tokens invalid now, of one user or of all, while refresh tokens stay good. */
  expireAccessTokens(sub?: string): void {
    for (const token of this.accessTokens.values()) {
      if (sub === undefined || token.grant.user.sub === sub) token.expiresAt = 0;
    }
  }

  /** Whether an access or refresh token would be accepted now. */
  isActive(value: string): boolean {
    const access = this.accessTokens.get(value);
    if (access) return !access.revoked && !access.grant.revoked && access.expiresAt > Date.now();
    const refresh = this.refreshTokens.get(value);
    if (!refresh || refresh.revoked || refresh.grant.revoked) return false;
    return refresh.spentAt === undefined && refresh.expiresAt > Date.now();
  }

  /** Forgets everything. */
  clear(): void {
    this.codes.clear();
    this.accessTokens.clear();
    this.refreshTokens.clear();
    this.issued.length = 0;
    this.counters = noCounts();
  }
}

/** A new unguessable value that shows its kind: `at_…`, `rt_…`, `code_…`. */
export function newSecret(prefix: string, size = 0): string {
  const bytes = Math.max(24, Math.ceil(((size - prefix.length - 1) * 3) / 4));
  return `${prefix}_${randomBytes(bytes).toString('base64url')}`;
}

function noCounts(): FakeCounters {
  return { codeExchanges: 0, codeReuses: 0, refreshes: 0, refreshReuses: 0, familiesRevoked: 0 };
}
