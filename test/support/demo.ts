// The demo's application with a database of its own and a fresh Demo Identity, for tests in a browser.
import type { AddressInfo } from 'node:net';
import { createDemoApp } from '../../examples/demo/demo-app.js';
import { LOGGED_OUT } from '../../examples/demo/demo-settings.js';
import { freePort, TEST_KEY } from './app.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { type OidcProvider, startOidcProvider } from './oidc-provider.mjs';

/** A running demo. */
export interface RunningDemo extends AsyncDisposable {
  readonly url: string;
  readonly database: TestDatabase;
  readonly identity: OidcProvider;
}

/** Starts it. @param options.accessTokenTtl seconds */
export async function startDemo({ accessTokenTtl = 30 } = {}): Promise<RunningDemo> {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const clientSecret = 'a secret of the demo, long enough';
  const [database, identity] = await Promise.all([
    createTestDatabase(),
    startOidcProvider({
      accessTokenTtl,
      clients: [
        {
          client_id: 'nest-oauth-demo',
          client_secret: clientSecret,
          redirect_uris: [`${url}/auth/demo/callback`],
          post_logout_redirect_uris: [url + LOGGED_OUT],
        },
      ],
    }),
  ]);
  const app = await createDemoApp({
    baseUrl: url,
    databaseUrl: database.url,
    encryptionKey: TEST_KEY,
    issuer: identity.issuer,
    clientId: 'nest-oauth-demo',
    clientSecret,
    environment: {},
  });
  await app.listen(port, '127.0.0.1');
  if ((app.getHttpServer() as { address(): AddressInfo }).address().port !== port) throw new Error('another port');
  return {
    url,
    database,
    identity,
    async [Symbol.asyncDispose]() {
      await app.close();
      await identity.close();
      await database.drop();
    },
  };
}
