// Every variant by name: where its code is, on which platforms it runs, and the settings it was given. Peers get the
// best settings their documentation offers for the measured route; what that costs them elsewhere is said too.
const both = ['express', 'fastify'];
const plain = () => import('./plain.mjs');
const ours = () => import('./ours.mjs');

/**
 * @type {Record<string, {
 *   load: () => Promise<any>, store?: string, copyOf?: string, platforms: string[], loginPlatforms?: string[], benches: string[], settings: string, stateless?: number }>}
 * `store`: whose tables it reads; none for a peer that keeps everything in its cookie. `copyOf`: the store from whose
 * rows this one is copied, where that is there. `loginPlatforms`: where its
 * login routes are mounted, if on fewer. `stateless`: how many different cookies to send, where the peer itself must
 * make each.
 */
export const catalogue = {
  bare: { load: plain, platforms: both, benches: ['guard'], settings: 'the route without a guard' },
  empty: { load: plain, platforms: both, benches: ['guard'], settings: 'canActivate returns true' },
  select: {
    store: 'plain',
    load: plain,
    platforms: both,
    benches: ['guard'],
    settings: 'by hand: one named SELECT (session join user) per request, pool of 10',
  },
  lru: {
    store: 'plain',
    load: plain,
    platforms: both,
    benches: ['guard'],
    settings:
      'by hand: the same SELECT behind lru-cache, 50,000 entries, 60 s; a revoked session lives on for up to 60 s',
  },
  ours: {
    store: 'ours',
    load: ours,
    platforms: both,
    benches: ['guard', 'login', 'refresh'],
    settings: 'defaults: fresh lookups, gathered per turn of the event loop',
  },
  'ours-cached': {
    store: 'ours_cached',
    copyOf: 'ours',
    load: ours,
    platforms: both,
    benches: ['guard'],
    settings: "session: { cache: 'coherent' } with the cache's migration",
  },
  passport: {
    store: 'passport',
    load: () => import('./passport.mjs'),
    platforms: ['express'],
    benches: ['guard', 'login'],
    settings:
      'passport-oauth2 (state, pkce) + express-session (resave and saveUninitialized off) + connect-pg-simple, user kept in the session; login: ID token not verified, tokens stored unsealed',
  },
  'passport-no-touch': {
    store: 'passport',
    load: () => import('./passport.mjs'),
    platforms: ['express'],
    benches: ['guard'],
    settings: 'as passport, with disableTouch: no write per request, and no sliding expiry',
  },
  'better-auth': {
    store: 'better_auth',
    load: () => import('./better-auth.mjs'),
    platforms: both,
    loginPlatforms: ['express'],
    benches: ['guard', 'login', 'refresh'],
    settings:
      'experimental.joins on, rate limit and telemetry off, auth.api.getSession in the guard; tokens stored unsealed (its default)',
  },
  'better-auth-cached': {
    store: 'better_auth',
    load: () => import('./better-auth.mjs'),
    platforms: both,
    benches: ['guard'],
    settings: 'as better-auth, with cookieCache (compact, 1 h): a revoked session lives on until the cookie cache ends',
    stateless: 200,
  },
  'openid-connect': {
    load: () => import('./openid-connect.mjs'),
    platforms: ['express'],
    benches: ['guard', 'login', 'refresh'],
    settings:
      'express-openid-connect, code flow, its default encrypted cookie session, rolling; nothing to revoke on the server',
    stateless: 50,
  },
  'openid-connect-fixed': {
    load: () => import('./openid-connect.mjs'),
    platforms: ['express'],
    benches: ['guard'],
    settings: 'as openid-connect, rolling off: no new cookie per answer, and no idle timeout',
    stateless: 50,
  },
  authjs: {
    store: 'authjs',
    load: () => import('./authjs.mjs'),
    platforms: ['express'],
    benches: ['guard', 'refresh'],
    settings:
      'Auth.js (@auth/express), pg adapter, database sessions; an index on sessionToken added, which its schema lacks; refresh as in its rotation guide',
  },
  direct: {
    store: 'direct',
    load: () => import('./direct.mjs'),
    platforms: both,
    benches: ['login'],
    settings:
      'by hand: state, PKCE, nonce in a signed cookie, ID token verified by jose, refresh token sealed, 3 statements',
  },
  lock: {
    store: 'lock',
    load: () => import('./lock.mjs'),
    platforms: ['express'],
    benches: ['refresh'],
    settings:
      'by hand: one refresh per user at a time in each process (a Map of promises), token read and written in Postgres',
  },
};

/** The variants of a bench on a platform, references first. */
export function variantsOf(bench, platform, only) {
  return Object.keys(catalogue).filter((name) => {
    const entry = catalogue[name];
    const platforms = (bench === 'login' && entry.loginPlatforms) || entry.platforms;
    return entry.benches.includes(bench) && platforms.includes(platform) && (!only || only.includes(name));
  });
}
