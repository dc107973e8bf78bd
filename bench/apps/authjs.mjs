// Auth.js for Express with its Postgres adapter and database sessions. Its documented schema has no index on the
// session token; it gets one here, or a million rows would be read for every request.
import pg from 'pg';
import { guardOf, nestApp } from './nest.mjs';
import { secretOf, secretSql, signingSecret, usersFor } from './seeds.mjs';
import { refreshTokens } from './token-request.mjs';

export async function seed(client, n) {
  await client.query(`
    create table users (id serial primary key, name varchar(255), email varchar(255), "emailVerified" timestamptz, image text);
    create table accounts (
      id serial primary key, "userId" integer not null, type varchar(255) not null, provider varchar(255) not null,
      "providerAccountId" varchar(255) not null, refresh_token text, access_token text, expires_at bigint, id_token text,
      scope text, session_state text, token_type text);
    create table sessions (id serial primary key, "userId" integer not null, expires timestamptz not null, "sessionToken" varchar(255) not null);
    create index accounts_user on accounts ("userId");`);
  await client.query(
    `insert into users (name, email) select 'user ' || i, 'user' || i || '@example.com' from generate_series(1, ${usersFor(n)}) i`,
  );
  await client.query(`insert into sessions ("userId", expires, "sessionToken")
    select (i % ${usersFor(n)}) + 1, now() + interval '30 days', ${secretSql} from generate_series(1, ${n}) i`);
  await client.query(`create unique index sessions_token on sessions ("sessionToken")`);
}

export const revoke = (client, i) => client.query('delete from sessions where "sessionToken" = $1', [secretOf(i)]);

export const cookies = (numbers) => numbers.map((i) => `authjs.session-token=${secretOf(i)}`);

/** A signed-in account whose access token has run out, for the refresh bench. */
export async function account(client, { number, refreshToken }) {
  await client.query(`insert into users (id, name, email) values ($1, 'refresh', $2)`, [
    number,
    `refresh${number}@example.com`,
  ]);
  await client.query(
    `insert into accounts ("userId", type, provider, "providerAccountId", refresh_token, access_token, expires_at)
     values ($1, 'oidc', 'stub', $2, $3, 'expired', $4)`,
    [number, String(number), refreshToken, Math.floor(Date.now() / 1000) - 10],
  );
  await client.query(
    `insert into sessions ("userId", expires, "sessionToken") values ($1, now() + interval '1 day', $2)`,
    [number, secretOf(`authjs${number}`)],
  );
  return `authjs.session-token=${secretOf(`authjs${number}`)}`;
}

/** Makes every stored access token old. */
export const expire = (client) => client.query('update accounts set expires_at = 1');

export async function build({ platform, port, database, provider }) {
  const { getSession } = await import('@auth/express');
  const { default: PostgresAdapter } = await import('@auth/pg-adapter');
  const pool = new pg.Pool({ connectionString: database, max: 10 });
  const adapter = PostgresAdapter(pool);

  // The "Refresh Token Rotation" guide of Auth.js, database strategy, with its request and its update.
  async function refreshed(user) {
    const { rows } = await pool.query(`select * from accounts where "userId" = $1 and provider = 'stub'`, [user.id]);
    const [found] = rows;
    if (Number(found.expires_at) * 1000 >= Date.now()) return found.access_token;
    const tokens = await refreshTokens(provider, found.refresh_token);
    await pool.query(`update accounts set access_token = $2, expires_at = $3, refresh_token = $4 where id = $1`, [
      found.id,
      tokens.access_token,
      Math.floor(Date.now() / 1000 + tokens.expires_in),
      tokens.refresh_token ?? found.refresh_token,
    ]);
    return tokens.access_token;
  }

  const config = {
    adapter,
    secret: signingSecret,
    trustHost: true,
    basePath: '/auth',
    providers: [],
    session: { strategy: 'database', maxAge: 30 * 24 * 3600, updateAge: 24 * 3600 },
    callbacks: { session: ({ session, user }) => ({ ...session, user: { id: user.id, name: user.name } }) },
    logger: { error() {}, warn() {}, debug() {} },
  };
  return nestApp({
    platform,
    port,
    guards: [
      guardOf(async (request) => {
        const session = await getSession(request, config);
        request.user = session?.user;
        return session !== null;
      }),
    ],
    answer: (request) => ({ id: String(request.user.id) }),
    token: async (request) => ({ token: await refreshed(request.user) }),
  });
}
