// Logouts from the provider find their sessions by an index, in a table of any size and by whatever plan is kept.
import pg from 'pg';
import { LogoutRepository, type LogoutTarget } from '../../src/auth/logout.repository.js';
import type { Queryable } from '../../src/database/queryable.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const ISSUER = 'https://provider.example';

describe('plans of logouts from the provider', () => {
  let database: TestDatabase;
  let client: pg.Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(`
      insert into oauth_accounts (id, provider, issuer, subject, user_id, profile)
      select gen_random_uuid(), 'p', '${ISSUER}', 'sub-' || n, 'u' || n, '{}' from generate_series(1, 10000) n;
      insert into oauth_sessions (id, token_hash, user_id, account_id, provider, sid, idle_expires_at, expires_at)
      select gen_random_uuid(), sha256((a.subject || n)::bytea), a.user_id, a.id, 'p',
             case when n = 1 then 'sid-' || a.subject end, now() + interval '1 hour', now() + interval '1 day'
      from oauth_accounts a, generate_series(1, 2) n;
      analyze oauth_accounts, oauth_sessions`);
  });
  afterAll(async () => {
    await client?.end();
    await database?.drop();
  });

  /** Prepares the statement as a connection may, and notes the plan of it instead of running it. */
  function explaining(plans: string[]): Queryable {
    return {
      query: async (text: string, values: readonly unknown[] = []) => {
        const literals = (values as (string | null)[]).map((value) =>
          value === null ? 'null' : pg.escapeLiteral(value),
        );
        await client.query(`prepare asked as ${text}`);
        const { rows } = await client.query<Record<string, string>>(`explain execute asked(${literals.join(', ')})`);
        await client.query('deallocate asked');
        plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
        return [];
      },
    };
  }

  it.each<[string, Pick<LogoutTarget, 'sid' | 'sub'>, string]>([
    ['sid', { sid: 'sid-sub-7', sub: null }, 'oauth_sessions_sid_idx'],
    ['sid and subject', { sid: 'sid-sub-7', sub: 'sub-7' }, 'oauth_sessions_sid_idx|oauth_accounts_issuer_subject_key'],
    ['subject', { sid: null, sub: 'sub-7' }, 'oauth_accounts_issuer_subject_key'],
  ])('E-059 by %s, no statement reads the table', async (_, who, index) => {
    for (const mode of ['force_custom_plan', 'force_generic_plan']) {
      await client.query(`set plan_cache_mode = ${mode}`);
      const plans: string[] = [];
      const logouts = new LogoutRepository(undefined as never);
      await logouts.subjects(explaining(plans), { issuer: ISSUER, ...who });
      await logouts.end(explaining(plans), { issuer: ISSUER, ...who });
      expect(plans).toHaveLength(2);
      for (const plan of plans) {
        expect(plan).toMatch(new RegExp(index));
        expect(plan).not.toMatch(/Seq Scan/);
      }
    }
  });
});
