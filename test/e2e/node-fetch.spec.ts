// A program logs in: Node's own fetch, which says `Sec-Fetch-Mode: cors` of every request and cannot be told otherwise, and
// keeps no cookies. Browsers say `Sec-Fetch-Site` along with it.
import { platforms } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';

describe.each(platforms)("login by Node's fetch, on %s", (platform) => {
  let at: LoginFixture;

  beforeAll(async () => (at = await startLogin({ platform })));
  afterAll(() => at?.close());

  const ask = (url: string, headers: Record<string, string> = {}) => fetch(url, { headers, redirect: 'manual' });
  const cookieOf = (answer: Response, name: string) =>
    answer.headers
      .getSetCookie()
      .find((cookie) => cookie.startsWith(`${name}=`))
      ?.split(';', 1)[0];

  it('goes from the login to a session', async () => {
    const begun = await ask(`${at.app.url}/auth/fake/login?returnTo=/me`);
    expect(begun.status).toBe(302);
    const authorized = await ask(begun.headers.get('location')!);
    const cookie = cookieOf(begun, 'oauth_browser')!;
    const finished = await ask(authorized.headers.get('location')!, { cookie });
    expect([finished.status, finished.headers.get('location')]).toEqual([303, `${at.app.url}/me`]);
    const session = cookieOf(finished, 'oauth_session')!;
    expect((await ask(`${at.app.url}/me`, { cookie: session })).status).toBe(200);
    expect((await ask(`${at.app.url}/me`)).status).toBe(401);
  });

  it.each(['same-origin', 'same-site', 'cross-site', 'none'])(
    'A-123 a script in a browser, which also says %s, begins none',
    async (site) => {
      const headers = { 'sec-fetch-site': site };
      expect((await ask(`${at.app.url}/auth/fake/login`, headers)).status).toBe(403);
      expect((await ask(`${at.app.url}/auth/login`, headers)).status).toBe(403);
      expect((await ask(`${at.app.url}/auth/fake/callback?state=x&code=x`, headers)).status).toBe(403);
    },
  );
});
