import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchChromium } from './chromium.js';
import { describeInBrowser } from './describe-in-browser.js';
import { startOidcProvider, type OidcProvider } from './oidc-provider.mjs';

describeInBrowser('launchChromium', () => {
  let browser: Browser | null = null;
  let provider: OidcProvider;
  beforeAll(async () => {
    provider = await startOidcProvider({
      clients: [
        {
          client_id: 'app',
          client_name: 'An <App>',
          redirect_uris: ['http://localhost:9/cb'],
          client_secret: 'x'.repeat(32),
        },
      ],
    });
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await provider.close();
  });

  it('starts a browser in which a person can sign in at the provider', async () => {
    const page = await browser!.newPage();
    const challenge = 'a'.repeat(43);
    const query = {
      client_id: 'app',
      response_type: 'code',
      scope: 'openid',
      code_challenge: challenge,
      code_challenge_method: 'S256',
    };
    await page.goto(
      `${provider.issuer}/auth?${new URLSearchParams({ ...query, redirect_uri: 'http://localhost:9/cb' })}`,
    );
    expect(await page.title()).toBe('Demo Identity');
    expect(await page.textContent('main')).toContain('An <App>');
    await page.getByLabel('Username').fill('alice');
    const sentBack = page.waitForRequest(/^http:\/\/localhost:9\/cb\?code=/);
    await page.getByRole('button', { name: 'Sign in' }).click();
    expect((await sentBack).url()).toContain('iss=');
  });
});
