// Many users at once: nobody ever gets what is somebody else's, and what falls due together is not renewed together.
import { isAging } from '../../../src/grants/refresh-ahead.js';
import { storeOf } from '../../storm/surroundings.js';
import { startGrants, until } from '../../support/grants.js';
import { seedGrants } from '../../support/seeded-grants.js';

it('C-017 500 users at once, with refreshes and nonce retries on kept-alive sockets: each sees only its own canary and key', async () => {
  await using grants = await startGrants({
    definition: { dpop: true, timeout: 20_000 },
    provider: { dpopNonce: 'required', apiDpopNonce: 'required', apiEcho: true, recordIssued: false },
  });
  const { provider } = grants;
  const { accessTokens } = storeOf(provider);
  const apps = [grants.app, await grants.another()];
  const users = await seedGrants(grants, 500, { dpop: true });

  const complaints: string[] = [];
  async function call(user: (typeof users)[number], round: number, app: number): Promise<void> {
    const canary = `canary of ${user.subject}, round ${round}, ${app}`;
    const answer = await apps[app]!.tokens.fetch(user.id, `${provider.apiUrl}/me`, { method: 'POST', body: canary });
    const body = (await answer.json()) as { sub: string; body: string; headers: { authorization: string } };
    const token = accessTokens.get(body.headers?.authorization.split(' ')[1] ?? '');
    if (answer.status !== 200 || body.sub !== user.subject)
      complaints.push(`${user.subject} was answered as ${body.sub}`);
    if (body.body !== canary) complaints.push(`${user.subject} got another body: ${body.body}`);
    if (token?.grant.user.sub !== user.subject)
      complaints.push(`${user.subject} sent a token of ${token?.grant.user.sub}`);
    if (token?.jkt !== user.jkt) complaints.push(`${user.subject} used another key`);
  }

  for (let round = 0; round < 2; round++) {
    if (round > 0) {
      await grants.expire();
      // Every other first request is made to ask for another nonce; its repetition passes.
      provider.configure({ dpopNonce: 'off', apiDpopNonce: 'off' });
      const seen = new Set<string>();
      const first = (text: string): boolean => !seen.has(text) && seen.add(text).size % 2 === 0;
      const nonce = { 'dpop-nonce': `nonce-of-round-${round}` };
      const headers = { ...nonce, 'www-authenticate': 'DPoP error="use_dpop_nonce"' };
      provider.clearFaults();
      provider.fault('api', { kind: 'status', status: 401, headers, when: ({ body }) => first(body) });
      provider.fault('refresh', {
        ...{ kind: 'raw', status: 400, body: '{"error":"use_dpop_nonce"}', contentType: 'application/json' },
        ...{ headers: nonce, when: ({ form }) => first(form.get('refresh_token')!) },
      });
    }
    await Promise.all(users.flatMap((user) => apps.map((_, app) => call(user, round, app))));
    expect(complaints).toEqual([]);
    expect(provider.counters).toMatchObject({ refreshes: 500 * (round + 1), refreshReuses: 0, familiesRevoked: 0 });
  }

  const proven = provider.requests.filter(({ dpop }) => dpop?.jkt !== undefined);
  const owners = new Map(users.map(({ subject, jkt }) => [jkt, subject]));
  for (const { form, headers, dpop } of proven) {
    const token = accessTokens.get(headers.authorization?.split(' ')[1] ?? '');
    const grant = token?.grant ?? storeOf(provider).refreshTokens.get(form.get('refresh_token') ?? '')?.grant;
    expect(grant?.user.sub).toBe(owners.get(dpop!.jkt));
  }
  const [retriedApi, retriedRefreshes] = (['api', 'refresh'] as const).map(
    (endpoint) => provider.requestsTo(endpoint).filter(({ status }) => status !== 200).length,
  );
  expect(retriedApi).toBeGreaterThan(400);
  expect(retriedRefreshes).toBeGreaterThan(150);
  const reused = provider.requests.filter(({ requestOnConnection }) => requestOnConnection > 1);
  expect(reused.length).toBeGreaterThan(500);
}, 120_000);

it('E-047 10,000 grants near expiry: due at different times, renewed by a few requests at once, and nobody waits for it', async () => {
  await using grants = await startGrants({ definition: { timeout: 20_000 }, provider: { recordIssued: false } });
  const { provider, database } = grants;
  const apps = [grants.app, await grants.another()];
  const lifetime = 3_600;
  // All issued at the same instant, and just between the first and the last that falls due.
  const share = 0.76;
  const users = await seedGrants(grants, 10_000, { lifetime, age: lifetime * share });
  const isDue = (id: string, at: number): boolean => isAging(id, { ttl: lifetime * (1 - at), lifetime }, 0.8);
  const dueAt = (at: number): number => users.filter(({ id }) => isDue(id, at)).length;
  expect([dueAt(0.719), dueAt(0.8)]).toEqual([0, 10_000]);
  // A tenth of the spread is 29 s of this hour: it holds about a tenth of the grants.
  for (let slice = 0; slice < 10; slice++) {
    const count = dueAt(0.72 + (slice + 1) * 0.008) - dueAt(0.72 + slice * 0.008);
    expect(count).toBeGreaterThan(800);
    expect(count).toBeLessThan(1_200);
  }

  let [now, most] = [0, 0];
  provider.interpose('refresh', {
    before: () => void (most = Math.max(most, (now += 1))),
    after: () => void (now -= 1),
  });
  provider.fault('refresh', { kind: 'latency', ms: 10 });
  provider.clearRequests();
  const left = users.map(({ id }) => id);
  let slowest = 0;
  const caller = async (index: number): Promise<void> => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      const began = performance.now();
      await apps[index % 2]!.tokens.getAccessToken(id);
      slowest = Math.max(slowest, performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: 100 }, (_, index) => caller(index)));
  await until(() => now === 0);
  // Eight at once in each of two processes, however many are due.
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(16);
  expect(provider.refreshCount).toBeGreaterThan(0);
  expect(provider.refreshCount).toBeLessThanOrEqual(dueAt(share + 0.03));
  const renewedNow = () => database.query<{ id: string }>('select id from oauth_grants where version > 1');
  await until(async () => (await renewedNow()).length === provider.refreshCount);
  const renewed = await renewedNow();
  // A little later than when they were issued, for the test itself takes its time.
  for (const { id } of renewed) expect(isDue(id, share + 0.03)).toBe(true);
  expect(grants.seen('refreshFailed')).toEqual([]);
  process.stderr.write(
    `10,000 grants near expiry: ${provider.refreshCount} renewed behind, ${most} at once, slowest caller ${Math.round(slowest)} ms\n`,
  );
}, 120_000);
