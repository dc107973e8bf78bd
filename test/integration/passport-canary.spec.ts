// The strategy is a real Passport strategy on a Passport of its own, and nothing of the stock transport is ever reached.
import { createRequire } from 'node:module';
import passport from 'passport';
import OAuth2Strategy from 'passport-oauth2';
import { OAuthStrategy } from '../../src/strategy/oauth.strategy.js';
import { MeController, platforms } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';

const require = createRequire(import.meta.url);
const reached: string[] = [];
const undo: (() => void)[] = [];

/** Makes a stock method say that it was reached, and throw. */
function trap(target: object, name: string, label: string): void {
  const methods = target as Record<string, unknown>;
  const original = methods[name];
  expect([label, typeof original]).toEqual([label, 'function']);
  methods[name] = () => {
    reached.push(label);
    throw new Error(`the stock ${label} was reached`);
  };
  undo.push(() => void (methods[name] = original));
}

beforeAll(() => {
  const { OAuth2 } = require('oauth') as { OAuth2: { prototype: object } };
  for (const name of ['getOAuthAccessToken', '_request', '_executeRequest', 'get', 'getAuthorizeUrl'])
    trap(OAuth2.prototype, name, `_oauth2.${name}`);
  const from = (path: string) => (require(`passport-oauth2/lib/state/${path}`) as { prototype: object }).prototype;
  for (const store of ['null', 'session', 'pkcesession', 'store'])
    for (const name of ['store', 'verify']) {
      const prototype = from(store);
      if (name in prototype) trap(prototype, name, `${store} state store ${name}`);
    }
  for (const name of ['authenticate', '_loadUserProfile', 'userProfile'])
    trap(OAuth2Strategy.prototype, name, `OAuth2Strategy.${name}`);
  for (const name of ['use', 'authenticate', 'initialize', 'session', 'serializeUser', 'deserializeUser'])
    trap(passport, name, `process-wide passport.${name}`);
});
afterAll(() => undo.splice(0).forEach((step) => step()));

describe.each(platforms)('Passport on %s', (platform) => {
  let at: LoginFixture;
  let other: LoginFixture;

  beforeAll(async () => {
    reached.length = 0;
    [at, other] = await Promise.all([startLogin({ platform }), startLogin({ platform })]);
  });
  afterAll(async () => {
    await at?.close();
    await other?.close();
  });

  it('a login, a failed login, a refresh and a logout reach nothing of the stock transport', async () => {
    const agent = at.agent();
    MeController.apiUrl = `${at.provider.apiUrl}/me`;
    at.provider.configure({ expiresIn: 1 });
    expect((await at.login(agent, '?returnTo=/me')).status).toBe(303);
    expect((await agent.fetch(`${at.app.url}/me/api`)).status).toBe(200);
    at.provider.fault('code', { kind: 'null', times: 1 });
    expect((await at.login(agent)).status).toBe(502);
    await at.callback(agent, `${at.app.url}/auth/fake/callback`);
    await agent.fetch(`${at.app.url}/auth/logout`, { method: 'POST' });
    expect(reached).toEqual([]);
  });

  it('the strategy is one of passport-oauth2, registered on a Passport of its own', () => {
    const strategy = at.app.app.get(OAuthStrategy, { strict: false });
    expect(strategy).toBeInstanceOf(OAuth2Strategy);
    expect(strategy.name).toBe('oauth');
    const own = strategy.getPassportInstance() as unknown as { _strategy(name: string): unknown };
    expect(own).not.toBe(passport);
    expect(own._strategy('oauth')).toBe(strategy);
    expect((passport as unknown as { _strategy(name: string): unknown })._strategy('oauth')).toBeUndefined();
    const others = other.app.app.get(OAuthStrategy, { strict: false });
    expect(others).not.toBe(strategy);
    expect(others.getPassportInstance()).not.toBe(own);
  });

  it('two applications in one process do not meet', async () => {
    const [one, two] = [at.agent(), other.agent()];
    const url = await at.untilCallback(one);
    const foreign = new URL(url);
    foreign.port = new URL(other.app.url).port;
    await other.begin(two);
    expect((await other.callback(two, foreign)).status).toBe(400);
    expect((await at.callback(one, url)).status).toBe(303);
    expect((await other.login(two)).status).toBe(303);
  });

  it('nothing of it is left behind when the stock path is called all the same', () => {
    const strategy = at.app.app.get(OAuthStrategy, { strict: false });
    expect(() => strategy.validate()).toThrow(expect.objectContaining({ code: 'server_error' }));
  });
});
