// An application with @nestjs/throttler as docs/security.md sets it up, and what it answers: printed as JSON. A process of
// its own, since that package cannot be loaded by the test runner on Node 20. Argument: the platform.
import { APP_GUARD } from '@nestjs/core';
import { ThrottlerGuard, ThrottlerModule } from '@nestjs/throttler';
import type { Platform } from './app.js';
import { startLogin } from './login-fixture.js';

const LIMIT = 5;
const at = await startLogin({
  platform: process.argv[2] as Platform,
  imports: [ThrottlerModule.forRoot([{ ttl: 60_000, limit: LIMIT }])],
  nestProviders: [{ provide: APP_GUARD, useClass: ThrottlerGuard }],
});
try {
  const agent = at.agent();
  const callback = await at.untilCallback(agent, '?returnTo=/me');
  for (let round = 1; round < LIMIT; round++) await at.begin(at.agent());
  const refused = await at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false });
  const done = await at.callback(agent, callback);
  const session = [];
  for (let round = 0; round <= LIMIT; round++)
    session.push((await at.agent().fetch(`${at.app.url}/auth/session`)).status);
  console.log(
    JSON.stringify({
      refused: refused.status,
      retryAfter: refused.headers.get('retry-after'),
      cookies: refused.setCookies,
      states: await at.count('oauth_states'),
      done: [done.status, done.headers.get('location') === `${at.app.url}/me`, await at.status(agent)],
      session,
    }),
  );
} finally {
  await at.close();
}
process.exit(0);
