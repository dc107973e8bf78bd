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
