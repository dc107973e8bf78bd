// Revocation (RFC 7009) at an endpoint that misbehaves: logging out never waits for it, 200 is done whatever is in it,
// everything else is tried again until it is done.
import { setTimeout as sleep } from 'node:timers/promises';
import { OAuthEvents } from '../../src/index.js';
import type { Fault, LoggedRequest } from '../../src/testing/index.js';
import { LoginBench } from '../support/login-bench.js';

const TIMEOUT = 1_500;

/** By case: how the endpoint misbehaves once, and how often it is asked in the end. */
const FAULTS: [cases: string, fault: Fault, requests: 1 | 2][] = [
  ['E-014 500', { kind: 'status', status: 500 }, 2],
  ['E-014 A-070 503 with Retry-After', { kind: 'status', status: 503, retryAfter: 4 }, 2],
  ['E-014 429 with Retry-After', { kind: 'status', status: 429, retryAfter: 4 }, 2],
  ['E-015 silence', { kind: 'stall' }, 2],
  ['E-015 one byte per second', { kind: 'drip', intervalMs: 300 }, 1],
  // An answer without a body cannot break off in it.
  ['E-016 A-069 closed after the headers', { kind: 'truncated' }, 1],
  ['E-016 content-length too long', { kind: 'truncated', how: 'contentLength' }, 2],
  ['E-017 64 MiB', { kind: 'oversize' }, 2],
  ['E-017 endless', { kind: 'endless' }, 2],
  ['E-017 gzip bomb', { kind: 'gzipBomb' }, 2],
  ['E-018 A-069 HTML', { kind: 'html' }, 1],
  ['E-018 A-069 text', { kind: 'text' }, 1],
  ['E-018 A-069 no content type', { kind: 'noContentType' }, 1],
  [
    'E-018 no content, said to be packed',
    { kind: 'raw', body: '', contentType: null, status: 204, headers: { 'content-encoding': 'gzip' } },
    2,
  ],
  ['E-019 A-069 null', { kind: 'null' }, 1],
  ['E-019 A-069 array', { kind: 'array' }, 1],
  ['E-019 A-069 string', { kind: 'string' }, 1],
  ['E-019 A-069 number', { kind: 'number' }, 1],
  ['E-019 A-069 empty object', { kind: 'emptyObject' }, 1],
  ['E-019 A-069 NUL', { kind: 'raw', body: '{"a":"\0"}' }, 1],
  ['E-019 A-069 BOM', { kind: 'raw', body: '\ufeff{}' }, 1],
  ['E-019 A-069 doubled keys and __proto__', { kind: 'raw', body: '{"a":1,"a":2,"__proto__":{"polluted":1}}' }, 1],
  ['E-020 A-069 nested arrays', { kind: 'deepNesting', depth: 400_000 }, 1],
  ['E-021 301', { kind: 'redirect', status: 301 }, 2],
  ['E-021 302', { kind: 'redirect', status: 302, withJson: true }, 2],
  ['E-021 307', { kind: 'redirect', status: 307 }, 2],
  ['E-021 308', { kind: 'redirect', status: 308 }, 2],
  ['E-032 reset', { kind: 'reset' }, 2],
  ['E-033 late', { kind: 'lateAnswer', ms: 2 * TIMEOUT }, 2],
  ['E-032 done, but the answer is lost', { kind: 'lostAnswer' }, 2],
  ['A-071 unsupported_token_type', { kind: 'oauthError', error: 'unsupported_token_type' }, 1],
];

describe('a revocation endpoint that misbehaves', () => {
  let bench: LoginBench;
  let revoked = 0;
  let heap = 0;
  const tokens: string[] = [];
  const logouts: { status: number; took: number; after: number }[] = [];

  // All at once: most of them are about waiting.
  beforeAll(async () => {
    bench = await LoginBench.start({ client: { timeout: TIMEOUT } });
    bench.app.app.get(OAuthEvents).on('revoked', () => (revoked += 1));
    heap = process.memoryUsage().rss;
    for (const [index, [, fault]] of FAULTS.entries()) {
      bench.provider.user({ sub: `user-${index}` });
      const { agent, subject } = await bench.login();
      expect(subject).toBe(`user-${index}`);
      const token = bench.provider.issued.filter(({ kind }) => kind === 'refreshToken').at(-1)!.value;
      tokens.push(token);
      bench.provider.fault('revocation', { ...fault, times: 1, when: ({ form }) => form.get('token') === token });
      const began = performance.now();
      const { status } = await agent.fetch(`${bench.app.url}/auth/logout`, { method: 'POST' });
      const took = performance.now() - began;
      logouts.push({ status, took, after: (await agent.fetch(`${bench.app.url}/me`)).status });
    }
    for (let wait = 0; wait < 400 && (await bench.database.query('select 1 from oauth_revocations')).length > 0; wait++)
      await sleep(100);
  });
  afterAll(() => bench?.[Symbol.asyncDispose]());

  const sent = (index: number): LoggedRequest[] =>
    bench.provider.requestsTo('revocation').filter(({ form }) => form.get('token') === tokens[index]);

  it.each(FAULTS.map(([title, fault, requests], index) => ({ title, fault, requests, index })))(
    '$title: the logout does not wait for it, and it is asked until it is done',
    ({ fault, requests, index }) => {
      expect(logouts[index]).toMatchObject({ status: 200, after: 401 });
      expect(logouts[index]!.took).toBeLessThan(1_000);
      const asked = sent(index);
      expect(asked).toHaveLength(requests);
      for (const { method, form, headers } of asked) {
        expect(Object.fromEntries(form)).toEqual({
          token: tokens[index],
          token_type_hint: 'refresh_token',
          client_id: 'client',
          client_secret: 'secret',
        });
        expect([method, headers.authorization]).toEqual(['POST', undefined]);
      }
      const pause = fault.kind === 'status' && fault.retryAfter !== undefined ? 4_000 : 1_000;
      if (asked.length === 2) {
        expect(asked[1]!.at - asked[0]!.at).toBeGreaterThanOrEqual(pause);
        expect(bench.provider.isActive(tokens[index]!)).toBe(false);
      }
    },
  );

  it('A-068 leaves nothing in the outbox, follows nothing, keeps memory flat', async () => {
    expect(await bench.database.query('select 1 from oauth_revocations')).toEqual([]);
    expect(bench.provider.requestsTo('trap')).toEqual([]);
    // What the provider cannot revoke is given up, and not told as revoked.
    expect(revoked).toBe(FAULTS.length - 1);
    expect(process.memoryUsage().rss - heap).toBeLessThan(300 * 2 ** 20);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('A-068 revokes nothing while another session lives on the grant', async () => {
    bench.provider.reset();
    bench.provider.user({ sub: 'two-browsers' });
    const [first, second] = [await bench.login(), await bench.login()];
    await first.agent.fetch(`${bench.app.url}/auth/logout`, { method: 'POST' });
    await sleep(300);
    expect(bench.provider.requestsTo('revocation')).toEqual([]);
    await second.agent.fetch(`${bench.app.url}/auth/logout`, { method: 'POST' });
    for (let wait = 0; wait < 200 && bench.provider.requestsTo('revocation').length === 0; wait++) await sleep(50);
    expect(bench.provider.requestsTo('revocation')).toHaveLength(1);
  });
});
