// What all endpoints of one provider share: who it is, how it behaves, what it knows.
import type { FakeBehaviour, FakeClient, FakeUser, JsonObject } from './behaviour.js';
import { FaultRegistry } from './faults.js';
import { ForgeryRegistry, signToken, type ForgeTarget, type Forgery } from './forgery.js';
import { Gates } from './gates.js';
import type { LoggedRequest } from './request-log.js';
import type { SigningKeys } from './signing-keys.js';
import { TamperRegistry, type TamperContext } from './tampering.js';
import { TokenStore, type FakeGrant } from './token-store.js';

/** A login that was answered with a code. */
export interface FakeLogin {
  sub: string;
  sid: string;
  clientId: string;
}

/** Where authorization requests are sent on to, as a mix-up attacker does. */
export interface MixUp {
  /** The other provider's authorization endpoint. */
  authorizationEndpoint: string;
  /** The client's id at the other provider. */
  clientId: string;
  /** Replaces the redirect URI, which otherwise stays. */
  redirectUri?: string;
}

/** A revocation request. */
export interface FakeRevocation {
  token: string;
  hint: string | undefined;
  clientId: string;
  /** Whether the token was known and still alive. */
  effective: boolean;
}

/** A visit of the logout page. */
export interface FakeEndSession {
  params: URLSearchParams;
  /** Claims of the `id_token_hint`, if it was one of ours (expired or not). */
  hint: JsonObject | undefined;
}

/** State shared by the endpoints of one provider. */
export class ProviderCore {
  /** Origins; known once the provider listens. */
  url = '';
  apiOrigin = '';
  readonly faults = new FaultRegistry();
  readonly tampers = new TamperRegistry();
  readonly forgeries = new ForgeryRegistry();
  readonly gates = new Gates();
  readonly store = new TokenStore();
  readonly clients = new Map<string, FakeClient>();
  readonly users = new Map<string, FakeUser>();
  readonly requests: LoggedRequest[] = [];
  readonly logins: FakeLogin[] = [];
  readonly revocations: FakeRevocation[] = [];
  readonly endSessions: FakeEndSession[] = [];
  /** Who logs in next, unless a `login_hint` names another known user. */
  user: FakeUser | ((request: LoggedRequest) => FakeUser);
  mixUp: MixUp | undefined;

  constructor(
    readonly keys: SigningKeys,
    public behaviour: FakeBehaviour,
    readonly issuerPath: string,
    user: FakeUser,
  ) {
    this.user = user;
  }

  /** Issuer identifier. */
  get issuer(): string {
    return this.url + this.issuerPath;
  }

  /** Address that nothing honest leads to. */
  get trapUrl(): string {
    return `${this.url}/trap`;
  }

  /** Address of one of this provider's endpoints. */
  address(name: string): string {
    return `${this.url}${this.issuerPath}/${name}`;
  }

  /** This server's clock in whole seconds since the epoch. */
  now(): number {
    return Math.floor(Date.now() / 1000) + this.behaviour.clockOffset;
  }

  /** Signs claims as this provider, after tampering and with whatever forgery is switched on. */
  sign(target: ForgeTarget, claims: JsonObject, options: SignOptions = {}): string {
    const { context = {}, typ, forgery } = options;
    const header: JsonObject = {
      alg: this.behaviour.idTokenAlg,
      ...(typ === undefined ? {} : { typ }),
      ...options.header,
    };
    const body = this.tampers.apply(target, claims, header, context);
    const secret = this.clients.get(context.clientId ?? '')?.clientSecret ?? '';
    return signToken(this.keys, { claims: body, header, secret }, forgery ?? this.forgeries.take(target), this.trapUrl);
  }

  /** Keeps a secret for `provider.issued`. */
  remember(kind: 'code' | 'accessToken' | 'refreshToken' | 'idToken', value: string, grant: FakeGrant): string {
    if (this.behaviour.recordIssued) {
      this.store.issued.push({ kind, value, sub: grant.user.sub, clientId: grant.clientId, grant: grant.id });
    }
    return value;
  }
}

/** How a token is to be signed. */
export interface SignOptions {
  context?: TamperContext;
  typ?: string;
  /** Members laid over the JOSE header. */
  header?: JsonObject;
  /** Used instead of what `forge()` switched on. */
  forgery?: Forgery;
}
