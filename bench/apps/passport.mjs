// passport-oauth2 + express-session + connect-pg-simple, as their documentation shows it for Express: PKCE and state
// on, `resave` and `saveUninitialized` off, the user kept in the session (so no second query per request).
import pg from 'pg';
import { guardOf, nestApp } from './nest.mjs';
import { secretOf, secretSql, signature, signingSecret, usersFor } from './seeds.mjs';

export async function seed(client, n) {
  // The table of connect-pg-simple's own table.sql.
  await client.query(`
    create table session (sid varchar not null collate "default", sess json not null, expire timestamp(6) not null);
    alter table session add constraint session_pkey primary key (sid);
    create index "IDX_session_expire" on session (expire);`);
  await client.query(`insert into session (sid, sess, expire)
    select ${secretSql}, json_build_object(
        'cookie', json_build_object('originalMaxAge', 604800000, 'expires', now() + interval '7 days', 'httpOnly', true, 'path', '/'),
        'passport', json_build_object('user', json_build_object('id', (i % ${usersFor(n)}) + 1, 'name', 'user ' || i))),
      now() + interval '7 days' from generate_series(1, ${n}) i`);
}

export const revoke = (client, i) => client.query('delete from session where sid = $1', [secretOf(i)]);

export const cookies = (numbers) =>
  numbers.map((i) => {
    const sid = secretOf(i);
    return `connect.sid=${encodeURIComponent(`s:${sid}.${signature(sid, signingSecret).replace(/=+$/, '')}`)}`;
  });

export const login = { start: '/login' };

export async function build({ variant, platform, port, database, provider }) {
  const { default: session } = await import('express-session');
  const { default: connectPg } = await import('connect-pg-simple');
  const { Passport } = await import('passport').then((found) => found.default);
  const { default: OAuth2Strategy } = await import('passport-oauth2');

  const pool = new pg.Pool({ connectionString: database, max: 10 });
  const passport = new Passport();
  passport.serializeUser((user, done) => done(null, user));
  passport.deserializeUser((user, done) => done(null, user));
  if (provider) {
    passport.use(
      'stub',
      new OAuth2Strategy(
        {
          authorizationURL: provider.authorizationEndpoint,
          tokenURL: provider.tokenEndpoint,
          clientID: provider.clientId,
          clientSecret: provider.clientSecret,
          callbackURL: `http://127.0.0.1:${port}/callback`,
          scope: ['openid', 'offline_access'],
          state: true,
          pkce: true,
        },
        // The cheapest thing that knows the user: the ID token's payload, unverified. Tokens are stored as they are.
        (accessToken, refreshToken, params, profile, done) => {
          const claims = JSON.parse(Buffer.from(params.id_token.split('.')[1], 'base64url').toString());
          done(null, { id: claims.sub, accessToken, refreshToken });
        },
      ),
    );
  }
  return nestApp({
    platform,
    port,
    before(app) {
      app.use(
        session({
          store: new (connectPg(session))({ pool, disableTouch: variant === 'passport-no-touch' }),
          secret: signingSecret,
          resave: false,
          saveUninitialized: false,
          cookie: { maxAge: 7 * 24 * 3600 * 1000, sameSite: 'lax' },
        }),
      );
      app.use(passport.session());
      if (provider) {
        app.use('/login', passport.authenticate('stub'));
        app.use('/callback', passport.authenticate('stub', { successRedirect: '/bench', keepSessionInfo: false }));
      }
    },
    guards: [guardOf((request) => request.isAuthenticated())],
    answer: (request) => ({ id: String(request.user.id) }),
  });
}
