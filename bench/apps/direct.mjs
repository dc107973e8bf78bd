// What a careful engineer writes by hand and no library can be expected to beat by much: state, PKCE and nonce in one
// signed cookie, one token call, the ID token verified, the refresh token sealed, and three statements per login
// (account, session, and the guard's SELECT).
import { createCipheriv, createHash, createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import pg from 'pg';
import { cookieOf, guardOf, nestApp } from './nest.mjs';
import { signingSecret } from './seeds.mjs';

export async function seed(client) {
  await client.query(`
    create table direct_accounts (
      id uuid primary key, issuer text not null, subject text not null, email text, refresh_token bytea, unique (issuer, subject));
    create table direct_sessions (
      id uuid primary key, token_hash bytea not null unique, account_id uuid not null references direct_accounts,
      expires_at timestamptz not null);`);
}

export const login = { start: '/login' };

const sha256 = (value) => createHash('sha256').update(value).digest();
const key = sha256(signingSecret);
const signed = (value) => `${value}.${createHmac('sha256', key).update(value).digest('base64url')}`;

function opened(value) {
  const dot = value?.lastIndexOf('.') ?? -1;
  if (dot < 0) return undefined;
  const expected = Buffer.from(signed(value.slice(0, dot)));
  const given = Buffer.from(value);
  return expected.length === given.length && timingSafeEqual(expected, given) ? value.slice(0, dot) : undefined;
}

function sealed(text) {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

const statements = {
  account: {
    name: 'direct-account',
    text: `insert into direct_accounts (id, issuer, subject, email, refresh_token) values ($1, $2, $3, $4, $5)
           on conflict (issuer, subject) do update set email = excluded.email, refresh_token = excluded.refresh_token returning id`,
  },
  session: {
    name: 'direct-session',
    text: `insert into direct_sessions (id, token_hash, account_id, expires_at) values ($1, $2, $3, now() + interval '7 days')`,
  },
  guard: {
    name: 'direct-guard',
    text: `select s.id, a.id as user_id from direct_sessions s join direct_accounts a on a.id = s.account_id
           where s.token_hash = $1 and s.expires_at > now()`,
  },
};

export async function build({ platform, port, database, provider }) {
  const pool = new pg.Pool({ connectionString: database, max: 10 });
  const keys = createRemoteJWKSet(new URL(provider.jwksUri));
  const redirectUri = `http://127.0.0.1:${port}/callback`;

  function start(response) {
    const [state, nonce, verifier] = [0, 0, 0].map(() => randomBytes(32).toString('base64url'));
    const query = new URLSearchParams({
      client_id: provider.clientId,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid email offline_access',
      state,
      nonce,
      code_challenge: sha256(verifier).toString('base64url'),
      code_challenge_method: 'S256',
    });
    const cookie = signed(`${state}~${nonce}~${verifier}`);
    response.writeHead(302, {
      location: `${provider.authorizationEndpoint}?${query}`,
      'set-cookie': `pending=${cookie}; HttpOnly; SameSite=Lax; Path=/callback; Max-Age=300`,
    });
    response.end();
  }

  async function finish(request, response) {
    const query = new URL(request.url, redirectUri).searchParams;
    const [state, nonce, verifier] = opened(cookieOf(request, 'pending'))?.split('~') ?? [];
    if (!state || state !== query.get('state')) return void response.writeHead(400).end();
    const answer = await fetch(provider.tokenEndpoint, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code: query.get('code'),
        redirect_uri: redirectUri,
        code_verifier: verifier,
        client_id: provider.clientId,
        client_secret: provider.clientSecret,
      }),
    });
    if (!answer.ok) return void response.writeHead(502).end();
    const tokens = await answer.json();
    const { payload } = await jwtVerify(tokens.id_token, keys, {
      issuer: provider.issuer,
      audience: provider.clientId,
    });
    if (payload.nonce !== nonce) return void response.writeHead(400).end();
    const { rows } = await pool.query({
      ...statements.account,
      values: [randomUUID(), payload.iss, payload.sub, payload.email, sealed(tokens.refresh_token)],
    });
    const token = randomBytes(32).toString('base64url');
    await pool.query({ ...statements.session, values: [randomUUID(), sha256(token), rows[0].id] });
    response.writeHead(303, {
      location: '/bench',
      'set-cookie': [`sid=${token}; HttpOnly; SameSite=Lax; Path=/`, 'pending=; Path=/callback; Max-Age=0'],
    });
    response.end();
  }

  return nestApp({
    platform,
    port,
    before(app) {
      const server = app.getHttpAdapter().getInstance();
      const raw = (reply) => (platform === 'fastify' ? reply.hijack().raw : reply);
      const failed = (reply) => () => raw(reply).writeHead(500).end();
      server.get('/login', (request, reply) => start(raw(reply)));
      server.get('/callback', (request, reply) => {
        finish(platform === 'fastify' ? request.raw : request, raw(reply)).catch(failed(reply));
      });
    },
    guards: [
      guardOf(async (request) => {
        const token = cookieOf(request, 'sid');
        if (!token) return false;
        const { rows } = await pool.query({ ...statements.guard, values: [sha256(token)] });
        request.user = rows[0];
        return rows.length === 1;
      }),
    ],
    answer: (request) => ({ id: request.user.user_id }),
  });
}
