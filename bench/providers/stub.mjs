// A cheap OpenID provider: one signature per login and nothing stored, so that it is never what is measured. The
// "authorize" page is played by the driver, which writes the code itself: what it must remember is in the code.
// With `punish`, refresh tokens rotate, and using an old one revokes the whole family, as RFC 9700 section 4.14 asks.
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { issuer, options, serve } from './serve.mjs';

const { clientId, accessTokenSeconds = 3600, firstSeconds = accessTokenSeconds, punish = false, delayMs = 0 } = options;
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwks = JSON.stringify({
  keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'stub', alg: 'ES256', use: 'sig' }],
});
const metadata = JSON.stringify({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  response_types_supported: ['code'],
  response_modes_supported: ['query'],
  grant_types_supported: ['authorization_code', 'refresh_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
  token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
  code_challenge_methods_supported: ['S256'],
  scopes_supported: ['openid', 'email', 'offline_access'],
});
const head = Buffer.from('{"alg":"ES256","kid":"stub","typ":"JWT"}').toString('base64url');
const padding = randomBytes(600).toString('base64url');

/** @type {Map<string, { at: number, revoked: boolean, calls: number, reused: number }>} */
const families = new Map();
let logins = 0;
let refreshes = 0;

function tokens(family, at) {
  return {
    access_token: `at.${family}.${at}.${padding}`,
    token_type: 'Bearer',
    expires_in: at === 0 ? firstSeconds : accessTokenSeconds,
    refresh_token: `rt.${family}.${at}.${padding.slice(0, 40)}`,
    scope: 'openid email offline_access',
  };
}

function idToken({ sub, nonce }) {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    ...{ iss: issuer, aud: clientId, sub, iat: now, exp: now + 600, auth_time: now, nonce },
    ...{ email: `${sub}@example.com`, email_verified: true, name: `User ${sub}`, preferred_username: sub },
  };
  const text = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

function exchange(form) {
  const { sub, nonce, challenge } = JSON.parse(Buffer.from(form.get('code'), 'base64url').toString());
  const verifier = form.get('code_verifier');
  if (challenge && (!verifier || createHash('sha256').update(verifier).digest('base64url') !== challenge))
    return undefined;
  logins++;
  const family = randomBytes(9).toString('base64url');
  if (punish) families.set(family, { at: 0, revoked: false, calls: 0, reused: 0 });
  return { ...tokens(family, 0), id_token: idToken({ sub, nonce }) };
}

function refresh(form) {
  refreshes++;
  const [, name, at] = (form.get('refresh_token') ?? '').split('.');
  const family = families.get(name);
  if (!punish) return name ? tokens(name, Number(at)) : undefined;
  if (!family) return undefined;
  family.calls++;
  if (family.revoked) return undefined;
  if (Number(at) !== family.at) {
    family.revoked = true;
    family.reused++;
    return undefined;
  }
  family.at++;
  return tokens(name, family.at);
}

function send(response, status, body) {
  response.writeHead(status, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

const server = createServer((request, response) => {
  if (request.url === '/token' && request.method === 'POST') {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const form = new URLSearchParams(body);
      const answer = form.get('grant_type') === 'refresh_token' ? refresh(form) : exchange(form);
      const done = () => send(response, answer ? 200 : 400, JSON.stringify(answer ?? { error: 'invalid_grant' }));
      if (delayMs > 0) setTimeout(done, delayMs);
      else done();
    });
  } else if (request.url === '/.well-known/openid-configuration') send(response, 200, metadata);
  else if (request.url === '/jwks') send(response, 200, jwks);
  else send(response, 404, '{}');
});

const questions = {
  counts: () => ({ logins, refreshes }),
  /** How many families were punished so far. */
  punished: () => ({ revoked: [...families.values()].filter(({ revoked }) => revoked).length }),
  /** Makes a family as a login would, for those whose session is written straight to their tables. */
  mint: () => {
    const name = randomBytes(9).toString('base64url');
    families.set(name, { at: 0, revoked: false, calls: 0, reused: 0 });
    return tokens(name, 0);
  },
  /** Whether the provider would accept each of these access tokens. */
  accepted: (list) =>
    list.map((token) => {
      const [, name, at] = String(token).split('.');
      const family = families.get(name);
      return family !== undefined && !family.revoked && Number(at) >= 1 && Number(at) <= family.at;
    }),
};

serve(server, '/authorize', questions);
