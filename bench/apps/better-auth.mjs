// better-auth with its own Postgres adapter, `experimental.joins` on (one query per lookup instead of two), rate limit
// and telemetry off. The guard calls `auth.api.getSession`, as its Nest integration does, without that layer's cost.
import pg from 'pg';
import { guardOf, nestApp } from './nest.mjs';
import { secretOf, secretSql, signature, signingSecret, usersFor } from './seeds.mjs';

async function authOf({ variant, port, database, provider }) {
  const { betterAuth } = await import('better-auth');
  const { genericOAuth } = await import('better-auth/plugins/generic-oauth');
  const options = {
    database: new pg.Pool({ connectionString: database, max: 10 }),
    secret: signingSecret,
    baseURL: `http://127.0.0.1:${port}`,
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { disabled: true },
    experimental: { joins: true },
    session: {
      expiresIn: 7 * 24 * 3600,
      updateAge: 24 * 3600,
      // "compact" is the cheapest of its three encodings; an hour, so that the cookies outlive the run.
      ...(variant === 'better-auth-cached' && { cookieCache: { enabled: true, maxAge: 3600, strategy: 'compact' } }),
    },
    plugins: provider
      ? [
          genericOAuth({
            config: [
              {
                providerId: 'stub',
                discoveryUrl: `${provider.issuer}/.well-known/openid-configuration`,
                clientId: provider.clientId,
                clientSecret: provider.clientSecret,
                scopes: ['openid', 'email', 'offline_access'],
                pkce: true,
              },
            ],
          }),
        ]
      : [],
  };
  return { auth: betterAuth(options), options };
}

/** Creates better-auth's tables with its own migrations, and fills `user` and `session`. */
export async function seed(client, n, database) {
  const { getMigrations } = await import('better-auth/db/migration');
  const { options } = await authOf({ variant: 'better-auth', port: 1, database });
  await (await getMigrations(options)).runMigrations();
  await options.database.end();
  await client.query(`insert into "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")
    select 'u' || i, 'user ' || i, 'user' || i || '@example.com', true, now(), now() from generate_series(1, ${usersFor(n)}) i`);
  await client.query(`insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt", "ipAddress", "userAgent")
    select 's' || i, ${secretSql}, 'u' || (i % ${usersFor(n)}) + 1, now() + interval '7 days', now(), now(), '', ''
    from generate_series(1, ${n}) i`);
}

export const revoke = (client, i) => client.query('delete from session where token = $1', [secretOf(i)]);

const sessionCookies = (numbers) =>
  numbers.map((i) => {
    const token = secretOf(i);
    return `better-auth.session_token=${encodeURIComponent(`${token}.${signature(token, signingSecret)}`)}`;
  });

/** With the cookie cache, every browser also holds the signed copy that `get-session` hands out. */
export async function cookies(numbers, { variant, database }) {
  const plain = sessionCookies(numbers);
  if (variant !== 'better-auth-cached') return plain;
  const { auth, options } = await authOf({ variant, port: 1, database });
  const full = [];
  for (const cookie of plain) {
    const answer = await auth.handler(new Request('http://127.0.0.1:1/api/auth/get-session', { headers: { cookie } }));
    const data = answer.headers.getSetCookie().find((line) => line.startsWith('better-auth.session_data='));
    if (!data) throw new Error('better-auth handed out no session_data cookie');
    full.push(`${cookie}; ${data.split(';')[0]}`);
  }
  await options.database.end();
  return full;
}

/** Makes every stored access token old. */
export const expire = (client) => client.query(`update account set "accessTokenExpiresAt" = now() - interval '1 hour'`);

export const login = {
  start: { path: '/api/auth/sign-in/social', body: { provider: 'stub', callbackURL: '/bench' } },
};

export async function build(options) {
  const { platform, port } = options;
  const { auth } = await authOf(options);
  const { fromNodeHeaders, toNodeHandler } = await import('better-auth/node');
  await auth.$context;
  // getAccessToken wants the account's id since 1.7; it never changes, so it is asked for once per user.
  const accounts = new Map();
  const accountOf = async (request) => {
    const found = await auth.api.listUserAccounts({ headers: fromNodeHeaders(request.headers) });
    return found.find(({ providerId }) => providerId === 'stub').id;
  };
  return nestApp({
    platform,
    port,
    bodyParser: false,
    before(app) {
      if (options.provider) {
        const handle = toNodeHandler(auth);
        app.use('/api/auth', (request, response) => handle(request, response));
      }
    },
    guards: [
      guardOf(async (request) => {
        const found = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
        request.user = found?.user;
        return found !== null;
      }),
    ],
    answer: (request) => ({ id: request.user.id }),
    token: async (request) => {
      const userId = request.user.id;
      const accountId = accounts.get(userId) ?? (await accountOf(request));
      accounts.set(userId, accountId);
      const found = await auth.api.getAccessToken({ body: { accountId, userId } });
      return { token: found.accessToken };
    },
  });
}
