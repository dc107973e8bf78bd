// The rules that hold whatever happens, each with what breaks it. Asked after every step, and once everything is calm.
import { LocalKeyRing } from '../../../src/crypto/key-ring.js';
import { Sealer } from '../../../src/crypto/sealing.js';
import { accessTokenContext, refreshTokenContext } from '../../../src/grants/grant-sealing.js';
import { ownerOf } from '../../../src/grants/grant.repository.js';
import { RevocationOutbox } from '../../../src/grants/revocation-outbox.service.js';
import { Rekeyer } from '../../../src/index.js';
import { storeOf } from '../../storm/surroundings.js';
import { until } from '../grants.js';
import { KEYS } from './crashable-app.js';
import { tokenOf } from './held-refreshes.js';
import type { World } from './world.js';

interface StoredGrant {
  id: string;
  provider: string;
  session_id: string | null;
  issuer: string;
  subject: string;
  status: string;
  refresh_token: string | null;
  tokens: { audience: string; token: string }[];
}

const STORED = `
  select g.id, g.provider, g.session_id, a.issuer, a.subject, g.status, g.refresh_token,
         coalesce((select jsonb_agg(jsonb_build_object('audience', t.audience, 'token', t.token))
                   from oauth_access_tokens t where t.grant_id = g.id), '[]') as tokens
  from oauth_grants g join oauth_accounts a on a.id = g.account_id`;

/** Watches one run. */
export class Rules {
  readonly broken: string[] = [];
  readonly #ring = (keys: readonly (typeof KEYS)[number][]): Sealer =>
    new Sealer(new LocalKeyRing(keys.map(({ id, secret }) => ({ id, bytes: Buffer.from(secret, 'base64url') }))));
  readonly #sealer = this.#ring(KEYS);
  /** Where each grant was last seen: family of the refresh token, and its place in it. */
  readonly #seen = new Map<string, [family: number, place: number]>();
  /** What each grant was last seen as, while it was not ended. */
  readonly #living = new Map<string, string>();

  constructor(private readonly world: World) {}

  /** What must hold after every step. */
  async check(): Promise<void> {
    const order = new Map<string, number>();
    this.world.provider.issued.forEach(({ value }, index) => order.set(value, index));
    for (const row of await this.world.database.query<StoredGrant & Record<string, unknown>>(STORED)) {
      const person = this.world.people.find(({ sub }) => sub === row.subject);
      const loggedIn = person?.sessions.some(({ grantId }) => grantId === row.id) ?? false;
      if (!loggedIn && (row.status !== 'revoked' || row.refresh_token !== null || row.tokens.length > 0))
        this.#breaks('what was logged out never comes back', `grant of ${row.subject} is ${row.status}`);
      if (row.status !== 'revoked') this.#living.set(row.id, row.status);
      if (row.refresh_token === null) continue;
      const value = await this.#sealer.open(refreshTokenContext(ownerOf(row)), row.refresh_token);
      const grant = this.#grantOf(value);
      if (grant?.user.sub !== row.subject)
        this.#breaks(
          'nobody has a token of somebody else',
          `${row.subject} holds a refresh token of ${grant?.user.sub}`,
        );
      const [family, place] = [grant?.id ?? -1, order.get(value) ?? -1];
      const [oldFamily, oldPlace] = this.#seen.get(row.id) ?? [-1, -1];
      if (family < oldFamily || (family === oldFamily && place < oldPlace))
        this.#breaks('an older token is never written over a newer one', `grant of ${row.subject}`);
      this.#seen.set(row.id, [family, place]);
    }
  }

  /** What must hold once everything is calm. */
  async judge(): Promise<string[]> {
    const { world } = this;
    await world.calmDown();
    await this.check();
    this.#judgeCalls();
    this.#judgeSends();
    await this.#judgeEnds();
    await this.#judgeRevocations();
    await this.#judgeSeals();
    if (world.provider.internalErrors.length > 0)
      this.#breaks('the test itself works', String(world.provider.internalErrors[0]));
    return [...new Set(this.broken)];
  }

  #judgeCalls(): void {
    const { accessTokens } = storeOf(this.world.provider);
    for (const call of this.world.calls.filter(({ app }) => this.world.apps.includes(app))) {
      const { person, value, error } = call;
      const owner = value === undefined ? undefined : accessTokens.get(value)?.grant.user.sub;
      if (value !== undefined && owner !== person.sub)
        this.#breaks('nobody has a token of somebody else', `${person.sub} got one of ${owner}`);
      if (call.outOfBounds && !call.disturbed && error !== 'reauth_required')
        this.#breaks('what was logged out never comes back', `${person.sub} got ${value ? 'a token' : error}`);
      if (error === 'reauth_required' && !call.outOfBounds && !call.disturbed && !this.#isStruck(person.sub))
        this.#breaks('nobody has to connect again without need', `${person.sub} had to`);
      const excused = ['reauth_required', 'provider_unavailable', 'database_unavailable'];
      if (error !== undefined && !excused.includes(error)) this.#breaks('every end is a proper one', error);
    }
  }

  /** One refresh token is one version: it is processed once, and once more where an answer may have been lost. */
  #judgeSends(): void {
    const sends = new Map<string, number>();
    for (const request of this.world.provider.requestsTo('refresh')) {
      if (request.fault === 'status') continue;
      sends.set(tokenOf(request), (sends.get(tokenOf(request)) ?? 0) + 1);
    }
    for (const [token, count] of sends)
      if (count > (this.world.refreshes.struck.has(token) ? 2 : 1))
        this.#breaks(
          'no version is refreshed twice',
          `a refresh token of ${this.#grantOf(token)?.user.sub} was sent ${count} times`,
        );
  }

  /** Usable, or to be connected again, as soon as leases are over; the latter only where an answer was lost. */
  async #judgeEnds(): Promise<void> {
    for (const { person, value, error } of (await this.world.askForAll()).values()) {
      if (value !== undefined && !this.world.provider.isActive(value))
        this.#breaks('every grant ends usable or reauth_required', `${person.sub} got a dead token`);
      if (value === undefined && error !== 'reauth_required')
        this.#breaks('nothing is stuck beyond its lease', `${person.sub}: ${error}`);
      if (error === 'reauth_required' && !this.#isStruck(person.sub))
        this.#breaks('nobody has to connect again without need', `${person.sub} ended so`);
    }
  }

  /**
   * Whoever is logged out everywhere leaves no refresh token that works, but for those that nobody ever learned of, and
   * those that were given up before because answers about them were lost.
   */
  async #judgeRevocations(): Promise<void> {
    const { world } = this;
    await world.database.query('update oauth_revocations set next_attempt_at = now()');
    world.apps[0]!.app.app.get(RevocationOutbox).wake();
    const gone = world.people.filter(({ sessions }) => sessions.length === 0);
    const subjects = gone.map(({ sub }) => sub);
    const rest = 'select 1 from oauth_revocations where subject = any($1)';
    await until(async () => (await world.database.query(rest, [subjects])).length === 0);
    for (const row of await world.database.query<StoredGrant & Record<string, unknown>>(STORED)) {
      const [family] = this.#seen.get(row.id) ?? [];
      if (row.status !== 'revoked' || family === undefined || !subjects.includes(row.subject)) continue;
      if (this.#living.get(row.id) === 'reauth_required') continue;
      const alive = world.provider.issued.filter(
        ({ kind, grant, value }) =>
          kind === 'refreshToken' &&
          grant === family &&
          world.provider.isActive(value) &&
          !world.refreshes.isUnknown(value),
      );
      if (alive.length > 0)
        this.#breaks('what was logged out never comes back', `a refresh token of ${row.subject} works still`);
    }
  }

  /** Sealed anew with one key, everything opens with that key alone. */
  async #judgeSeals(): Promise<void> {
    const [app] = this.world.apps;
    const rekeyer = app!.app.app.get(Rekeyer);
    const { failed } = await rekeyer.rekey();
    const ids = new Set((await rekeyer.report()).map(({ keyId }) => keyId));
    const [current] = [...ids];
    if (failed > 0 || ids.size > 1)
      this.#breaks('sealed values open after rekeying', `keys left: ${[...ids].join(', ')}`);
    const sealer = this.#ring(KEYS.filter(({ id }) => id === current));
    for (const row of await this.world.database.query<StoredGrant & Record<string, unknown>>(STORED)) {
      const values = row.tokens.map(({ audience, token }) =>
        sealer.open(accessTokenContext(ownerOf(row), audience), token),
      );
      if (row.refresh_token !== null) values.push(sealer.open(refreshTokenContext(ownerOf(row)), row.refresh_token));
      await Promise.all(values).catch((error: Error) =>
        this.#breaks('sealed values open after rekeying', `${row.subject}: ${error.message}`),
      );
    }
  }

  /** True when an answer about one of this person's refresh tokens may have been lost. */
  #isStruck(sub: string): boolean {
    const { refreshes, undecided } = this.world;
    return undecided.has(sub) || [...refreshes.struck].some((token) => this.#grantOf(token)?.user.sub === sub);
  }

  #grantOf(refreshToken: string): { id: number; user: { sub: string } } | undefined {
    return storeOf(this.world.provider).refreshTokens.get(refreshToken)?.grant;
  }

  #breaks(rule: string, how: string): void {
    this.broken.push(`${rule}: ${how}`);
  }
}
