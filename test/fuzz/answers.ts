// Hostile answers of a provider: token answers, ID tokens, userinfo; and the tokens with which it logs people out.
import fc from 'fast-check';
import { type Family, family } from './family.js';
import { judge } from './invariants.js';
import { sessionOf } from './requests.js';
import { cookieOf, type Target } from './target.js';
import { headerText, json, text } from './texts.js';
import type { WireAnswer } from './wire.js';

const BY_PROVIDER = { providerAtFault: true };
const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const ABSENT = Symbol('absent');
const NOTHING = fc.constant<[string, unknown][]>([]);

/** Changes of an object: a value, or that the member is missing. */
function changes(names: readonly string[]): fc.Arbitrary<[string, unknown][]> {
  const name = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: text });
  const value = fc.oneof({ weight: 6, arbitrary: json }, { weight: 1, arbitrary: fc.constant(ABSENT) });
  return fc.oneof(
    { weight: 4, arbitrary: fc.array(fc.tuple(name, value), { maxLength: 3 }) },
    { weight: 1, arbitrary: NOTHING },
  );
}

function change(object: Record<string, unknown>, all: readonly (readonly [string, unknown])[]): void {
  for (const [name, value] of all) {
    if (value === ABSENT) delete object[name];
    // Not by assignment, which would set the prototype.
    else Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
  }
}

/** Mostly nothing at all. */
function seldom<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

/** One cut, doubled or foreign piece in a text. */
const edit = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), remove: fc.nat(20), insert: text });
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;
const edited = (given: string, edits: readonly Edit[]): string =>
  edits.reduce((now, { at, remove, insert }) => {
    const place = Math.floor(at * now.length);
    return now.slice(0, place) + insert + now.slice(place + remove);
  }, given);

/** After a login that was let in: the session works, and what is known of its token makes sense. */
async function judgeSession(at: Target, answer: WireAnswer): Promise<void> {
  const session = cookieOf(answer, 'oauth_session');
  if (session === undefined) throw new Error(`a login without a session: ${answer.raw}`);
  const cookie = [['cookie', `oauth_session=${session}`]] as const;
  const me = await at.send({ target: '/me', headers: cookie });
  judge(at, me);
  if (me?.status !== 200) throw new Error(`a session that does not work: ${me?.raw}`);
  const token = await at.send({ target: '/token', headers: cookie });
  judge(at, token, BY_PROVIDER);
}

const tokenAnswers: Family = family({
  name: 'token answers',
  share: 0.13,
  input: fc.oneof(
    fc.record({
      kind: fc.constant('members' as const),
      provider: fc.constantFrom('fake', 'plain'),
      members: changes(['access_token', 'token_type', 'expires_in', 'refresh_token', 'scope', 'id_token', 'refresh_expires_in', '__proto__', 'constructor', 'error', 'then']),
    }),
    fc.record({
      kind: fc.constant('raw' as const),
      provider: fc.constantFrom('fake', 'plain', 'plain'),
      body: fc.oneof(
        fc.array(edit, { maxLength: 2 }).map((edits) => edited('{"access_token":"at-0123456789abcdef","token_type":"bearer","expires_in":60,"scope":"a b"}', edits)),
        json.map((value) => JSON.stringify(value) ?? ''),
        text,
      ),
      contentType: fc.oneof({ weight: 5, arbitrary: fc.constant('application/json') }, { weight: 1, arbitrary: fc.constantFrom('application/x-www-form-urlencoded', 'text/html', 'application/json; charset=utf-16', 'application/jwt') }),
      status: fc.oneof({ weight: 4, arbitrary: fc.constant(200) }, { weight: 2, arbitrary: fc.constantFrom(201, 204, 301, 302, 307, 400, 401, 403, 404, 418, 429, 500, 503) }),
      headers: fc.dictionary(fc.constantFrom('location', 'set-cookie', 'retry-after', 'dpop-nonce', 'www-authenticate', 'cache-control'), headerText.filter((value) => /^[\x20-\x7e]*$/.test(value)), { maxKeys: 2 }),
    }),
  ), // prettier-ignore
  async run(at, input) {
    if (input.kind === 'members') at.provider.tamper('tokenResponse', (body) => change(body, input.members));
    else {
      const { body, contentType, status, headers } = input;
      at.provider.fault('code', { kind: 'raw', body, contentType, status, headers });
    }
    const answer = await at.login(input.provider);
    judge(at, answer, BY_PROVIDER);
    if (answer.status === 303) await judgeSession(at, answer);
  },
});

const idTokens: Family = family({
  name: 'ID tokens and userinfo',
  share: 0.13,
  input: fc.record({
    claims: changes(['iss', 'sub', 'aud', 'azp', 'exp', 'iat', 'nbf', 'nonce', 'at_hash', 'auth_time', 'acr', 'amr', 'sid', 'session_expiry', '__proto__', 'name']),
    header: fc.oneof({ weight: 3, arbitrary: NOTHING }, { weight: 1, arbitrary: changes(['alg', 'typ', 'kid', 'crit', 'jku', 'jwk', 'b64', 'cty', 'zip']) }),
    payload: seldom(fc.array(edit, { minLength: 1, maxLength: 2 })),
    compact: seldom(fc.array(edit, { minLength: 1, maxLength: 2 })),
    userinfo: fc.oneof({ weight: 3, arbitrary: NOTHING }, { weight: 2, arbitrary: changes(['sub', 'name', 'email', 'email_verified', 'picture', 'preferred_username', '__proto__']) }),
  }), // prettier-ignore
  async run(at, { claims, header, payload, compact, userinfo }) {
    const { provider } = at;
    let sent: Record<string, unknown> = {};
    let honest: Record<string, unknown> = {};
    provider.tamper('idToken', (given, joseHeader) => {
      honest = { ...given };
      change(given, claims);
      change(joseHeader, header);
      sent = given;
    });
    if (payload) provider.forge('idToken', { kind: 'payload', rewrite: (text) => edited(text, payload) });
    if (compact)
      provider.tamper('tokenResponse', (body) => {
        body.id_token = edited(String(body.id_token), compact);
      });
    provider.tamper('userinfo', (given) => change(given, userinfo));
    const answer = await at.login();
    judge(at, answer, BY_PROVIDER);
    if (answer.status !== 303) return;
    await judgeSession(at, answer);
    if (compact || payload) return;
    // Whoever is let in has a token that says so.
    const { iss, aud, nonce, exp, iat, sub } = sent;
    const [audience] = Array.isArray(aud) && aud.length === 1 ? (aud as unknown[]) : [aud];
    const now = Date.now() / 1000;
    const right =
      iss === honest.iss && audience === 'client' && nonce === honest.nonce && typeof sub === 'string' && sub !== '' &&
      typeof exp === 'number' && exp > now - 90 && typeof iat === 'number' && iat < now + 90; // prettier-ignore
    if (!right) throw new Error(`a login by ${JSON.stringify(sent)}`);
  },
});

const logoutTokens: Family = family({
  name: 'logout tokens',
  share: 0.1,
  input: fc.record({
    claims: changes(['iss', 'aud', 'iat', 'exp', 'jti', 'events', 'sub', 'sid', 'nonce', '__proto__']),
    header: fc.oneof({ weight: 3, arbitrary: NOTHING }, { weight: 1, arbitrary: changes(['alg', 'typ', 'kid', 'crit', 'jku', 'b64']) }),
    compact: seldom(fc.array(edit, { minLength: 1, maxLength: 2 })),
    form: seldom(fc.array(edit, { minLength: 1, maxLength: 2 })),
    type: fc.oneof({ weight: 5, arbitrary: fc.constant('application/x-www-form-urlencoded') }, { weight: 1, arbitrary: headerText }),
    provider: fc.constantFrom('fake', 'fake', 'fake', 'post', 'plain'),
  }), // prettier-ignore
  async run(at, { claims, header, compact, form, type, provider }) {
    await sessionOf(at);
    let sent: Record<string, unknown> = {};
    at.provider.tamper('logoutToken', (given, joseHeader) => {
      change(given, claims);
      change(joseHeader, header);
      sent = given;
    });
    const honest = at.provider.logoutToken({ sub: 'nobody', sid: 'nothing', aud: 'client' });
    const body = `logout_token=${compact ? encodeURIComponent(Buffer.from(edited(honest, compact)).toString()) : honest}`;
    const answer = await at.send({
      method: 'POST',
      target: `/auth/${provider}/backchannel-logout`,
      body: form ? edited(body, form) : body,
      headers: [['content-type', type]],
    });
    judge(at, answer);
    if (answer?.status !== 200 || compact || form) return;
    const { iss, aud, events, jti, nonce, sub, sid } = sent;
    const [audience] = Array.isArray(aud) && aud.length === 1 ? (aud as unknown[]) : [aud];
    const event =
      typeof events === 'object' && events !== null ? (events as Record<string, unknown>)[EVENT] : undefined;
    const right =
      iss === at.provider.issuer && audience === 'client' && typeof event === 'object' && event !== null && typeof jti === 'string' &&
      nonce === undefined && (typeof sub === 'string' || typeof sid === 'string'); // prettier-ignore
    if (!right) throw new Error(`obeyed ${JSON.stringify(sent)}`);
  },
});

/** Families of hostile answers. */
export const answerFamilies: readonly Family[] = [tokenAnswers, idTokens, logoutTokens];
