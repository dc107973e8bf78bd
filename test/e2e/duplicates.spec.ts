// Callbacks that come more than once: one token request, and everybody gets the outcome of the first.
import { platforms } from '../support/app.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';

describe.each(platforms)('a callback that comes twice on %s', (platform) => {
  let at: LoginFixture;

  beforeAll(async () => {
    at = await startLogin({ platform });
  });
  afterAll(() => at?.close());
  beforeEach(() => at.provider.reset());

  it('A-033 E-050 fifty at once make one token request and one session, and all come to its page', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/mine');
    const sessions = await at.count('oauth_sessions');
    const answers = await Promise.all(Array.from({ length: 50 }, () => at.callback(agent, url)));
    expect(answers.map((answer) => [answer.status, answer.headers.get('location')])).toEqual(
      answers.map(() => [303, `${at.app.url}/mine`]),
    );
    expect(answers.filter((answer) => answer.setCookies.length > 0)).toHaveLength(1);
    expect(at.provider.requestsTo('token')).toHaveLength(1);
    expect(await at.count('oauth_sessions')).toBe(sessions + 1);
    expect(await at.status(agent)).toBe(200);
  });

  it('E-050 a reload waits for the first one, however slow the provider is', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/slow');
    const hold = at.provider.hold('code');
    const first = at.callback(agent, url);
    await hold.arrived;
    const second = at.callback(agent, url);
    const third = await Promise.race([second, new Promise((resolve) => setTimeout(resolve, 500, 'waiting'))]);
    expect(third).toBe('waiting');
    hold.release();
    expect((await first).headers.get('location')).toBe(`${at.app.url}/slow`);
    expect((await second).headers.get('location')).toBe(`${at.app.url}/slow`);
    expect(at.provider.requestsTo('token')).toHaveLength(1);
  });

  it('E-050 a reload gets the same error when the first one fails', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const hold = at.provider.hold('code', 'before');
    const first = at.callback(agent, url);
    await hold.arrived;
    const second = at.callback(agent, url);
    at.provider.tamper('idToken', (claims) => ({ ...claims, nonce: 'x' }));
    hold.release();
    const answers = [await first, await second, await at.callback(agent, url)];
    expect(answers.map((answer) => [answer.status, codeOf(answer)])).toEqual(
      answers.map(() => [502, 'invalid_id_token']),
    );
    for (const answer of answers) expect(answer.body).toContain(`href="${at.app.url}/auth/fake/login`);
    expect(at.provider.requestsTo('token')).toHaveLength(1);
  });

  it('E-050 another browser gets nothing of it', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/mine');
    await at.callback(agent, url);
    const other = at.agent();
    await at.begin(other);
    const answer = await at.callback(other, url);
    expect([answer.status, codeOf(answer), answer.headers.get('location')]).toEqual([400, 'invalid_state', null]);
    expect(answer.body).not.toContain('/mine');
  });

  it('E-050 back from the landing page lands there again, and keeps the session', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/me');
    await at.callback(agent, url);
    const session = agent.cookie('oauth_session');
    const again = await agent.navigate(url.href);
    expect([again.status, again.url]).toEqual([200, `${at.app.url}/me`]);
    expect(agent.cookie('oauth_session')).toBe(session);
  });

  it('E-050 after a first one that vanished, the second one does not wait for ever', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    await at.database.query(`update oauth_states set consumed_at = now(), payload = null where consumed_at is null`);
    const began = performance.now();
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'login_in_progress']);
    expect(performance.now() - began).toBeLessThan(25_000);
  });

  it('of several first visits at the same instant one wins, and the others get a page that offers the login again', async () => {
    const agents = Array.from({ length: 5 }, () => at.agent());
    const urls = await Promise.all(agents.map((agent) => at.untilCallback(agent, '?returnTo=/x')));
    // One jar, as the browser's: each answer replaced the cookie of the one before.
    const [agent] = agents;
    agent!.jar.clear();
    agent!.jar.plant({ name: 'oauth_browser', value: agents[4]!.cookie('oauth_browser')!, domain: 'localhost' });
    const answers = [];
    for (const url of urls) answers.push(await at.callback(agent!, url));
    expect(answers.map((answer) => answer.status)).toEqual([400, 400, 400, 400, 303]);
    for (const answer of answers.slice(0, 4)) expect(answer.body).toContain(`href="${at.app.url}/auth/fake/login`);
  });
});
