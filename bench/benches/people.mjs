// The provider that the login, refresh and cookie-only variants need, and people who log in with it.
import { fileURLToPath } from 'node:url';
import { catalogue } from '../apps/catalogue.mjs';
import { Browser, logIn } from '../frame/browser.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startProcess } from '../frame/servers.mjs';

const script = (name) => fileURLToPath(new URL(`../providers/${name}.mjs`, import.meta.url));

/** The cheap provider; `punish` makes it rotate refresh tokens and revoke on reuse. */
export const startStub = async (options = {}) =>
  startProcess(script('stub'), { port: await freePort(), clientId: 'bench', ...options }, { role: 'load' });

/** The real one, which must know its clients' redirect URIs. */
export const startOidcProvider = async (redirectUris) =>
  startProcess(script('oidc'), { port: await freePort(), clientId: 'bench', redirectUris }, { role: 'load' });

/** Logs in `count` people at an application and hands back their Cookie headers. */
export async function cookiesByLogin({ variant, app, issuer, count, prefix = 'person' }) {
  const { login } = await catalogue[variant].load();
  const found = [];
  const browser = new Browser();
  for (let i = 0; i < count; i++) {
    browser.forget();
    await logIn(browser, { origin: app.url, start: login.start, sub: `${prefix}-${i}`, issuer, stub: true });
    found.push(browser.cookie(app.url));
  }
  browser.close();
  return found;
}

/**
 * People log in one after the other at each of `browsers`, until the time is up or there were enough logins: `people` of
 * them in turn.
 * @returns milliseconds of each login
 */
export async function crowd({
  app,
  start,
  issuer,
  stub,
  browsers,
  seconds = Infinity,
  logins = Infinity,
  people = 1000,
  prefix = 'person',
}) {
  const until = performance.now() + seconds * 1000;
  const times = [];
  let next = 0;
  await Promise.all(
    browsers.map(async (browser) => {
      while (next < logins && performance.now() < until) {
        browser.forget();
        const begun = performance.now();
        await logIn(browser, { origin: app.url, start, sub: `${prefix}-${next++ % people}`, issuer, stub });
        times.push(performance.now() - begun);
      }
    }),
  );
  return times;
}
