// Hostile requests: callbacks, cookies, return addresses, logout tokens, and anything at any route.
import fc from 'fast-check';
import { judge } from './invariants.js';
import { type Family, family } from './family.js';
import { ALLOWED_ORIGIN, type Begun, cookieOf, type Target } from './target.js';
import { encoded, headerText, pair, type Pair, text } from './texts.js';
import { headerOf, type WireAnswer } from './wire.js';

const headers = fc.array(
  fc.tuple(
    fc.constantFrom(
      ...['accept', 'accept-encoding', 'content-type', 'host', 'origin', 'referer', 'user-agent', 'x-forwarded-for', 'x-forwarded-host'],
      ...['x-forwarded-proto', 'forwarded', 'x-original-url', 'x-http-method-override', 'sec-fetch-site', 'sec-fetch-mode'],
      ...['sec-fetch-dest', 'sec-purpose', 'x-requested-with', 'range', 'if-none-match', 'authorization', 'te'],
    ), // prettier-ignore
    fc.oneof(
      fc.constantFrom('text/html', 'application/json', '*/*', 'navigate', 'cors', 'none', 'same-origin', 'document', 'image'),
      headerText,
    ), // prettier-ignore
  ),
  { maxLength: 4 },
);
const separator = fc.constantFrom('&', '&', '&', '&&', ';', '&=&');
const HTML = ['accept', 'text/html'] as const;

const ID = '00000000-0000-4000-8000-000000000000';
const ROUTES: string[][] = [
  ...[['login'], ['fake', 'login'], ['fake', 'callback'], ['session'], ['sessions'], ['sessions', ID], ['accounts'], ['accounts', ID]],
  ...[['logout'], ['fake', 'link'], ['fake', 'backchannel-logout'], ['fake', 'frontchannel-logout'], ['plain', 'frontchannel-logout']],
]; // prettier-ignore
const SEGMENTS = [...new Set(ROUTES.flat()), 'auth', 'AUTH', '..', '%2e%2e', '..%2f', '__proto__', 'constructor', ''];

/** Parameters of a callback as anybody may read them: each exactly once, and right. */
function isHonest(query: string, { state, code, iss, response }: Begun, provider: string): boolean {
  const given = new URLSearchParams(query);
  const once = (name: string, value: string) => given.getAll(name).length === 1 && given.get(name) === value;
  if (provider === 'signed') return once('response', response);
  const rightIssuer = provider === 'plain' || once('iss', iss);
  return once('state', state) && once('code', code) && rightIssuer && !given.get('error');
}

/** The callback, by query and by form, with and without the right state, code and cookie. */
const callbacks: Family = family({
  name: 'callback queries and forms',
  share: 0.27,
  input: fc.record({
    provider: fc.constantFrom('fake', 'fake', 'post', 'signed', 'plain'),
    form: fc.boolean(),
    pairs: fc.array(pair(['state', 'code', 'iss', 'error', 'response', 'session_state', 'relayed', 'returnTo'], ['{state}', '{code}', '{iss}', '{response}']), { maxLength: 7 }),
    honest: fc.boolean(),
    separator,
    cookie: fc.oneof(fc.constant('{browser}'), text),
    type: fc.oneof({ weight: 4, arbitrary: fc.constant('application/x-www-form-urlencoded') }, { weight: 1, arbitrary: headerText }),
    headers,
  }), // prettier-ignore
  async run(at, { provider, form, pairs, honest, separator: between, cookie, type, headers: more }) {
    const live = await at.begin(provider);
    const plain = (name: string): Pair => ({ name, value: `{${name}}`, spelling: 'percent' });
    const first = honest ? (provider === 'signed' ? ['response'] : ['state', 'code', 'iss']).map(plain) : [];
    const known = new Map(Object.entries(live).map(([name, value]) => [`{${name}}`, String(value)]));
    const query = encoded([...first, ...pairs], known, between);
    const answer = await at.send({
      target: `/auth/${provider}/callback${form ? '' : `?${query}`}`,
      method: form ? 'POST' : 'GET',
      body: form ? query : undefined,
      headers: [
        ...(form ? [['content-type', type] as const] : []),
        ['cookie', `oauth_browser=${(known.get(cookie) ?? cookie).replace(/[\r\n]/g, '')}`],
        ...more,
      ],
    });
    // The provider may say of itself that it failed.
    judge(at, answer, { providerAtFault: /server_error|temporarily_unavailable/.test(query) });
    if (answer?.status === 303 && cookieOf(answer, 'oauth_session') && !isHonest(query, live, provider))
      throw new Error(`a login out of ${JSON.stringify(query)}`);
  },
});

/** Cookie headers of all kinds, beside and instead of the right ones. */
const cookies: Family = family({
  name: 'cookies',
  share: 0.2,
  input: fc.record({
    target: fc.constantFrom('/me', '/me/api', '/auth/session', '/auth/sessions', '/auth/accounts', '/auth/fake/login', '/auth/login'),
    parts: fc.array(
      fc.record({
        name: fc.oneof(fc.constantFrom('oauth_session', 'oauth_browser', '__Host-oauth_session', 'OAUTH_SESSION', ' oauth_session', 'oauth%5fsession', '__proto__'), headerText),
        value: fc.oneof(fc.constantFrom('{session}', '{browser}', '"{session}"', '{session} ', '{session}%20'), headerText),
      }),
      { maxLength: 5 },
    ),
    between: fc.constantFrom('; ', ';', ', ', ';;', ' '),
    separate: fc.boolean(),
    padding: fc.constantFrom(0, 0, 0, 4_000, 15_000, 70_000),
    headers,
  }), // prettier-ignore
  async run(at, { target, parts, between, separate, padding, headers: more }) {
    const session = await sessionOf(at);
    const texts = parts.map(({ name, value }) => `${name}=${value.replace('{session}', session)}`);
    if (padding > 0) texts.push(`p=${'x'.repeat(padding)}`);
    const lines = separate ? texts : [texts.join(between)];
    const answer = await at.send({
      target,
      headers: [...lines.map((line) => ['cookie', line] as const), ...more],
    });
    judge(at, answer);
    const named = lines.join('; ').includes(`oauth_session=${session}`);
    if (answer?.status === 200 && target !== '/auth/login' && !named) throw new Error('in without a session');
  },
});

/** Return addresses, through every place that takes one. */
const returnTo: Family = family({
  name: 'returnTo',
  share: 0.17,
  input: fc.record({
    place: fc.constantFrom('login', 'login', 'chooser', 'error page'),
    value: fc.oneof(
      text,
      fc.webUrl(),
      fc.array(fc.constantFrom('/', '//', '\\', '%2f', '%5c', '%252f', '.', '..', '%2e', '@', ':', '?', '#', 'evil.example', 'auth', 'AUTH', 'login', 'https:', '\t', '\n', '\u200b', '／', '。', '{origin}', ALLOWED_ORIGIN), { maxLength: 8 }).map((parts) => parts.join('')),
      fc.webPath().map((path) => path || '/'),
    ),
    twice: fc.boolean(),
  }), // prettier-ignore
  async run(at, { place, value, twice }) {
    const given = value.replaceAll('{origin}', at.origin);
    const one = `returnTo=${encodeURIComponent(Buffer.from(given).toString())}`;
    // Beyond this it is the server that refuses the request line.
    fc.pre(one.length < 12_000);
    const query = `?${twice ? `${one}&returnTo=/other` : one}`;
    if (place === 'chooser') {
      const answer = await at.send({ target: `/auth/login${query}`, headers: [HTML] });
      judge(at, answer);
      return judgeLinks(at, answer);
    }
    const live = await at.begin('fake', query);
    if (place === 'error page') {
      at.provider.fault('code', { kind: 'oauthError', error: 'invalid_grant', times: 1 });
      const answer = await at.finish('fake', live);
      judge(at, answer);
      return judgeLinks(at, answer);
    }
    const answer = await at.finish('fake', live);
    judge(at, answer);
    const location = headerOf(answer, 'location') ?? '';
    if (answer.status !== 303) throw new Error(`a good login ended in ${answer.status}`);
    const url = new URL(location);
    if (url.origin === at.origin && /^\/+auth(?:[/;]|$)/i.test(decoded(url.pathname)))
      throw new Error(`lands on a route of ours: ${location}`);
    // What nobody could misread must arrive unchanged.
    if (!twice && /^(?:\/(?!auth\b)[a-z0-9_-]+)+(?:\?[a-z0-9=&]*)?$/i.test(given) && location !== at.origin + given)
      throw new Error(`${given} became ${location}`);
  },
});

/** Any method at any path with any body, in a live session. */
const routes: Family = family({
  name: 'routes',
  share: 0.1,
  input: fc.record({
    method: fc.constantFrom('GET', 'GET', 'POST', 'DELETE', 'PUT', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'get', 'FOO'),
    path: fc.oneof(
      fc.constantFrom(...ROUTES),
      fc.tuple(fc.constantFrom(...ROUTES), text).map(([route, more]) => [...route, more]),
      fc.array(fc.oneof(fc.constantFrom(...SEGMENTS), text), { maxLength: 4 }),
    ),
    spelling: fc.constantFrom('percent' as const, 'raw' as const, 'broken' as const),
    inside: fc.constantFrom(true, true, true, false),
    query: fc.array(pair(['returnTo', 'iss', 'sid', 'state', 'login_hint', 'max_age', 'acr_values'], ['{iss}', '/']), { maxLength: 3 }),
    body: fc.option(fc.oneof(text, fc.json(), fc.string({ unit: 'binary' })), { freq: 2, nil: undefined }),
    type: fc.oneof(fc.constantFrom('application/json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/plain', ''), headerText),
    headers,
  }), // prettier-ignore
  async run(at, { method, path, spelling, inside, query, body, type, headers: more }) {
    const session = await sessionOf(at);
    const segments = path.map((segment) => {
      const form = encoded([{ name: '', value: segment, spelling }], new Map()).slice(1);
      return spelling === 'percent' && segment.includes('%') ? segment.replace(/[^!-~]/g, '') : form;
    });
    const target = `${inside ? '/auth' : ''}/${segments.join('/')}?${encoded(query, new Map([['{iss}', at.provider.issuer]]))}`;
    const answer = await at.send({
      method,
      target,
      body,
      headers: [['cookie', `oauth_session=${session}`], ...(body === undefined ? [] : [['content-type', type] as const]), ...more],
    }); // prettier-ignore
    judge(at, answer);
  },
});

/** Families of hostile requests. */
export const requestFamilies: readonly Family[] = [callbacks, cookies, returnTo, routes];

const sessions = new WeakMap<Target, string>();

/** A live session of this target, made again when a case has ended it. */
export async function sessionOf(at: Target): Promise<string> {
  const kept = sessions.get(at);
  const headersOfIt = [['cookie', `oauth_session=${kept}`]] as const;
  if (kept && (await at.send({ target: '/me', headers: headersOfIt }))?.status === 200) return kept;
  const made = cookieOf(await at.login(), 'oauth_session');
  if (!made) throw new Error('an honest login failed');
  sessions.set(at, made);
  return made;
}

function judgeLinks(at: Target, answer: WireAnswer | null): void {
  for (const [, href] of (answer?.body ?? '').matchAll(/(?:href|action|src)="([^"]*)"/g)) {
    const url = new URL(href!.replaceAll('&amp;', '&'), at.origin);
    if (url.origin !== at.origin || url.pathname.startsWith('//')) throw new Error(`a link to ${href}`);
  }
  if (/<script|onerror/i.test(answer?.body ?? '')) throw new Error(`markup on our page: ${answer?.body}`);
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
