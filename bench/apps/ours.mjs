// This library as its documentation shows it: defaults, tokens sealed, every check on. Rows for the guard and the scale
// bench are written by SQL into the migrated tables, with sealed columns of the usual length.
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { nestApp } from './nest.mjs';
import { bulk, secretOf, secretSql, usersFor } from './seeds.mjs';

/** BENCH_DIST names another build of the library, to compare two of them. */
const dist = new URL(
  process.env.BENCH_DIST ? `${pathToFileURL(process.env.BENCH_DIST)}/` : '../../dist/',
  import.meta.url,
);
const library = () => import(new URL('src/index.js', dist).href);
const providers = () => import(new URL('src/providers/index.js', dist).href);
const migrations = () => import(new URL('migrations/index.js', dist).href);

/** The two classes of the seal bench; they are not part of the public API. */
export const sealing = async () => ({
  ...(await import(new URL('src/crypto/sealing.js', dist).href)),
  ...(await import(new URL('src/crypto/key-ring.js', dist).href)),
});

const key = createHash('sha256').update('a benchmark key').digest('base64url');

/** Whether this build has what the variant needs; a variant that is left out is named in the output. */
export const available = async (variant) => variant !== 'ours-cached' || 'oauthCacheMigrations' in (await migrations());

/** A text as long as a sealed token. It repeats, which is no help: Postgres compresses nothing in rows below 2 KB, as these are. */
const sealedSql = (characters) =>
  `repeat(encode(sha512(('sealed' || i)::bytea), 'hex'), ${Math.ceil(characters / 128)})`;

/** The tables, by the library's own migrations. */
export async function migrate(database, cached = false) {
  const { DataSource } = await import('typeorm');
  const { oauthMigrations, oauthCacheMigrations } = await migrations();
  const source = new DataSource({
    type: 'postgres',
    url: database,
    migrations: [...oauthMigrations, ...(cached ? oauthCacheMigrations : [])],
  });
  await source.initialize();
  await source.runMigrations();
  await source.destroy();
}

/** Accounts, grants (at most `grants`), access tokens and `n` sessions, two to a user. */
export async function fill(client, n, grants = n) {
  const users = usersFor(n);
  const granted = Math.min(users, grants);
  const id = (kind, number = 'i') => `md5('${kind}' || ${number})::uuid`;
  const tables = ['oauth_accounts', 'oauth_grants', 'oauth_access_tokens', 'oauth_sessions'];
  await bulk(client, tables, async () => {
    await client.query(`insert into oauth_accounts (id, provider, issuer, subject, user_id, profile)
    select ${id('account')}, 'stub', 'https://seeded.example', 'seeded-' || i, ${id('account')}::text,
      jsonb_build_object('name', 'User ' || i, 'username', 'user' || i, 'email', 'user' || i || '@example.com', 'emailVerified', true, 'picture', null)
    from generate_series(1, ${users}) i`);
    await client.query(`insert into oauth_grants (id, account_id, provider, scope, refresh_token)
    select ${id('grant')}, ${id('account')}, 'stub', '{openid,email,offline_access}', ${sealedSql(400)} from generate_series(1, ${granted}) i`);
    await client.query(`insert into oauth_access_tokens (grant_id, audience, token, token_type, scope, expires_at)
    select ${id('grant')}, '', ${sealedSql(1400)}, 'bearer', '{openid,email,offline_access}', now() + interval '1 hour' from generate_series(1, ${granted}) i`);
    await client.query(`insert into oauth_sessions
      (id, token_hash, user_id, account_id, grant_id, provider, sid, idle_expires_at, expires_at, ip, user_agent, id_token)
    select ${id('session')}, sha256(${secretSql}::bytea), ${id('account', 'u')}::text, ${id('account', 'u')},
      case when u <= ${granted} then ${id('grant', 'u')} end, 'stub', null, now() + interval '12 hours' + i * interval '10 milliseconds', now() + interval '7 days' + i * interval '10 milliseconds',
      '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', ${sealedSql(900)}
    from (select i, (i % ${users}) + 1 as u from generate_series(1, ${n}) i) rows`);
  });
}

/** Makes a filled database that was copied from `ours` one for the cache. */
export const upgrade = (database) => migrate(database, true);

export async function seed(client, n, database, variant) {
  await migrate(database, variant === 'ours-cached');
  await fill(client, n);
}

export const revoke = (client, i) =>
  client.query('delete from oauth_sessions where token_hash = $1', [createHash('sha256').update(secretOf(i)).digest()]);

export const cookies = (numbers) => numbers.map((i) => `oauth_session=${secretOf(i)}`);

/** Makes every stored access token old, and its last refresh long ago. */
export const expire = (client) =>
  client.query(`update oauth_access_tokens set issued_at = now() - interval '2 hours', expires_at = now() - interval '1 hour',
    refreshed_at = case when refreshed_at is null then null else now() - interval '2 hours' end`);

export const login = { start: '/auth/stub/login?returnTo=/bench' };

export async function build({
  variant,
  platform,
  port,
  database,
  provider,
  baseUrl = `http://127.0.0.1:${port}`,
  cleanup,
}) {
  const { OAuthModule, SessionGuard, TokenService } = await library();
  const { oidc } = await providers();
  const { TypeOrmModule } = await import('@nestjs/typeorm');
  const app = await nestApp({
    platform,
    port,
    imports: [
      TypeOrmModule.forRoot({ type: 'postgres', url: database, autoLoadEntities: true, poolSize: 10 }),
      OAuthModule.forRoot({
        baseUrl,
        encryption: { keys: [{ id: 'bench', secret: key }] },
        providers: [
          oidc({
            name: 'stub',
            issuer: provider.issuer,
            clientId: provider.clientId,
            clientSecret: provider.clientSecret,
            scope: ['openid', 'email', 'offline_access'],
          }),
        ],
        ...(variant === 'ours-cached' && { session: { cache: 'coherent', cacheSize: 50_000 } }),
        ...(cleanup !== undefined && { cleanup }),
      }),
    ],
    guards: [SessionGuard],
    answer: (request) => ({ id: request.user.id }),
    token: async (request, app) => {
      const token = await app.get(TokenService).getAccessToken(request.oauthSession);
      return { token: token.value };
    },
  });
  const { SessionCache } = await import(new URL('src/sessions/session-cache.service.js', dist).href);
  return {
    close: () => app.close(),
    asked: ({ cached }) => (cached ? app.get(SessionCache, { strict: false }).size : undefined),
  };
}
