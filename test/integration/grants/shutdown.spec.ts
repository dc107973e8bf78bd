// Refreshes that begin while the application is already closing: what the provider rotates is written before the pool
// goes, and what cannot be finished is not begun.
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Get, Injectable, type OnApplicationShutdown, UseGuards } from '@nestjs/common';
import pg from 'pg';
import { CurrentSession, type OAuthSession, SessionGuard, TokenService } from '../../../src/index.js';
import { MeController, oidcOf, startApp } from '../../support/app.js';
import { until } from '../../support/grants.js';
import { startLogin } from '../../support/login-fixture.js';

/** Takes its time before it wants a token. */
@Controller('slow')
@UseGuards(SessionGuard)
class SlowController {
  constructor(private readonly tokens: TokenService) {}

  @Get()
  async slow(@CurrentSession() session: OAuthSession): Promise<object> {
    await sleep(800);
    const token = await this.tokens.getAccessToken(session);
    return { got: token.value.length > 0 };
  }
}

/** Work of the application that goes on when the server is closed already. */
@Injectable()
class LateWork implements OnApplicationShutdown {
  work = (): Promise<void> => Promise.resolve();

  onApplicationShutdown(): Promise<void> {
    return this.work();
  }
}

const AGING = `update oauth_access_tokens set issued_at = now() - interval '95 minutes', expires_at = now() + interval '5 minutes'`;
const EXPIRED = `update oauth_access_tokens set issued_at = now() - interval '2 hours', expires_at = now() - interval '1 hour', refreshed_at = null`;
const GRANT = `select version, status, lease_owner, refresh_sent_at from oauth_grants order by created_at`;
const AT_REST = { status: 'active', lease_owner: null, refresh_sent_at: null };

describe('a graceful shutdown', () => {
  it('E-060 waits for a renewal that a request in flight began behind its back: the rotated token is stored', async () => {
    await using at = await startLogin({ controllers: [MeController, SlowController] });
    const agent = at.agent();
    await at.login(agent);
    await at.database.query(AGING);
    at.provider.fault('refresh', { kind: 'lateAnswer', ms: 1_500, times: 1 });
    const answer = agent.fetch(`${at.app.url}/slow`);
    await sleep(300);
    expect(at.provider.requestsTo('refresh')).toHaveLength(0);
    await at.app.close();
    expect((await answer).json()).toEqual({ got: true });
    expect(at.provider.requestsTo('refresh')).toHaveLength(1);
    expect(await at.database.query(GRANT)).toEqual([{ version: 2, ...AT_REST }]);

    await at.database.query(EXPIRED);
    await using next = await startApp({ database: at.database.url, providers: [oidcOf(at.provider)] });
    const [grant] = await at.database.query<{ id: string }>('select id from oauth_grants');
    expect((await next.tokens.getAccessToken(grant!.id)).value).toBeTruthy();
    expect(at.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0, familiesRevoked: 0 });
  }, 30_000);

  it('E-060 finishes a refresh that is just taking its lease when the pool is to close, and begins no other', async () => {
    await using at = await startLogin({ nestProviders: [LateWork] });
    for (const sub of ['user-1', 'user-2']) {
      at.provider.user({ sub, name: sub });
      await at.login(at.agent());
    }
    await at.database.query(EXPIRED);
    const [one, two] = await at.database.query<{ id: string }>('select id from oauth_grants order by created_at');
    const lock = new pg.Client(at.database.url);
    await lock.connect();
    await lock.query('begin');
    await lock.query('select 1 from oauth_grants where id = $1 for update', [one!.id]);
    const outcomes: Record<string, unknown> = {};
    const ask = (name: string, grantId: string): void =>
      void at.app.tokens.getAccessToken(grantId).then(
        () => (outcomes[name] = 'token'),
        (error: { code?: string }) => (outcomes[name] = error.code),
      );
    const taking = async (): Promise<boolean> => {
      const rows = await at.database.query(
        `select 1 from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like '%set lease_owner = $3%'`,
      );
      return rows.length === 1;
    };
    let late = false;
    at.app.app.get(LateWork).work = async () => {
      ask('before', one!.id);
      await until(taking);
      late = true;
    };
    const closing = at.app.close();
    await until(() => late);
    await sleep(300);
    ask('after', two!.id);
    await sleep(300);
    await lock.query('commit');
    await lock.end();
    await closing;
    await until(() => 'before' in outcomes && 'after' in outcomes);
    expect(outcomes).toEqual({ before: 'token', after: 'provider_unavailable' });
    expect(await at.database.query(GRANT)).toEqual([
      { version: 2, ...AT_REST },
      { version: 1, ...AT_REST },
    ]);
    expect(at.provider.requestsTo('refresh')).toHaveLength(1);
  }, 30_000);
});
