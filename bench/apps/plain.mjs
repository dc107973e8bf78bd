// The references: no guard, an empty guard, and what a careful team writes by hand: one named SELECT per request,
// and the same behind an LRU (which keeps a revoked session alive until its entry ends).
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import pg from 'pg';
import { cookieOf, guardOf, nestApp } from './nest.mjs';
import { secretOf, secretSql, usersFor } from './seeds.mjs';

const lookup = {
  name: 'bench-session',
  text: `select s.id, s.user_id, u.name from bench_sessions s join bench_users u on u.id = s.user_id
         where s.token_hash = $1 and s.expires_at > now()`,
};

export async function seed(client, n) {
  await client.query(`
    create table bench_users (id bigint primary key, name text not null);
    create table bench_sessions (
      id uuid primary key default gen_random_uuid(), token_hash bytea not null unique,
      user_id bigint not null references bench_users, created_at timestamptz not null default now(), expires_at timestamptz not null);
  `);
  await client.query(`insert into bench_users select i, 'user ' || i from generate_series(1, ${usersFor(n)}) i`);
  await client.query(`insert into bench_sessions (token_hash, user_id, expires_at)
    select sha256(${secretSql}::bytea), (i % ${usersFor(n)}) + 1, now() + interval '7 days' from generate_series(1, ${n}) i`);
}

/** Ends session number `i` as an administrator would: by its row. */
export const revoke = (client, i) =>
  client.query('delete from bench_sessions where token_hash = $1', [createHash('sha256').update(secretOf(i)).digest()]);

export const cookies = (numbers) => numbers.map((i) => `sid=${secretOf(i)}`);

const find = (pool, token) =>
  pool.query({ ...lookup, values: [createHash('sha256').update(token).digest()] }).then((result) => result.rows[0]);

const guards = {
  bare: () => [],
  empty: () => [guardOf(() => true)],
  select: (pool) => [
    guardOf(async (request) => {
      const token = cookieOf(request, 'sid');
      request.user = token && (await find(pool, token));
      return request.user !== undefined;
    }),
  ],
  lru: (pool, known) => {
    return [
      guardOf((request) => {
        const token = cookieOf(request, 'sid');
        if (!token) return false;
        request.user = known.get(token);
        if (request.user) return true;
        return find(pool, token).then((user) => {
          if (user) known.set(token, user);
          request.user = user;
          return user !== undefined;
        });
      }),
    ];
  },
};

export async function build({ variant, platform, port, database }) {
  const pool = new pg.Pool({ connectionString: database, max: 10 });
  const known = new LRUCache({ max: 50_000, ttl: 60_000 });
  const app = await nestApp({
    platform,
    port,
    guards: guards[variant](pool, known),
    answer: (request) => ({ id: String(request.user?.user_id ?? 1) }),
  });
  return { close: () => app.close(), asked: ({ cached }) => (cached ? known.size : undefined) };
}
