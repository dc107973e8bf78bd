// What changes about a provider while the application runs.
import { jest } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { OAuthEvents } from '../../src/index.js';
import { LoginBench } from '../support/login-bench.js';

const HOURS_2 = 7_200_000;

/** Moves the monotonic clock, by which the age of metadata is told. */
function wait(milliseconds: number): void {
  const began = performance.now.bind(performance);
  jest.spyOn(performance, 'now').mockImplementation(() => began() + milliseconds);
}

describe('metadata that changes', () => {
  afterEach(() => jest.restoreAllMocks());

  /** The same endpoint under the other name of this machine: another host, and it answers. */
  const elsewhere = (url: string) => url.replace('localhost', '127.0.0.1');

  it('E-104 one event tells that an endpoint has moved to another host, and the new one is used', async () => {
    await using bench = await LoginBench.start();
    const { provider, app } = bench;
    const alarms: { code: string; provider?: string; message: string }[] = [];
    app.app.get(OAuthEvents).on('alarm', (alarm) => alarms.push(alarm));
    expect((await bench.login()).code).toBeNull();
    provider.tamper('metadata', (body) => void (body.token_endpoint = elsewhere(String(body.token_endpoint))));
    wait(HOURS_2);
    for (let round = 0; round < 4; round++) {
      expect((await bench.login()).code).toBeNull();
      await sleep(100);
    }
    expect(alarms).toEqual([
      { code: 'provider_moved', provider: 'fake', message: expect.stringContaining('token_endpoint') },
    ]);
    expect(provider.requestsTo('code').at(-1)!.headers.host).toMatch(/^127\.0\.0\.1:/);
  });

  it('E-104 an endpoint that nobody asks may be anything, and the others are still followed', async () => {
    await using bench = await LoginBench.start();
    const { provider } = bench;
    provider.tamper('metadata', (body) => void (body.frontchannel_logout_endpoint = '/logout'));
    expect((await bench.login()).code).toBeNull();
    provider.tamper('metadata', (body) => {
      body.frontchannel_logout_endpoint = '/logout';
      body.token_endpoint = elsewhere(String(body.token_endpoint));
    });
    wait(HOURS_2);
    for (let round = 0; round < 3; round++) {
      expect((await bench.login()).code).toBeNull();
      await sleep(100);
    }
    expect(provider.requestsTo('code').at(-1)!.headers.host).toMatch(/^127\.0\.0\.1:/);
    expect(provider.requestsTo('discovery')).toHaveLength(2);
  });

  it('a provider whose metadata cannot be had again is not asked for it by every call, but a minute later', async () => {
    await using bench = await LoginBench.start();
    const { provider } = bench;
    expect((await bench.login()).code).toBeNull();
    provider.fault('discovery', { kind: 'status', status: 500 });
    for (const [elapsed, asked] of [
      [HOURS_2, 2],
      [HOURS_2 + 61_000, 3],
    ] as const) {
      jest.restoreAllMocks();
      wait(elapsed);
      for (let round = 0; round < 3; round++) {
        expect((await bench.login()).code).toBeNull();
        await sleep(100);
      }
      expect(provider.requestsTo('discovery')).toHaveLength(asked);
    }
  });

  it('E-104 an endpoint that is pinned in the options wins, and nothing is told', async () => {
    await using bench = await LoginBench.start({
      providers: (fake) => [{ ...definition(fake.issuer), tokenEndpoint: fake.endpoint('token') }],
    });
    const alarms: unknown[] = [];
    bench.app.app.get(OAuthEvents).on('alarm', (alarm) => alarms.push(alarm));
    expect((await bench.login()).code).toBeNull();
    bench.provider.tamper('metadata', (body) => void (body.token_endpoint = 'https://evil.example/token'));
    wait(HOURS_2);
    for (let round = 0; round < 3; round++) {
      expect((await bench.login()).code).toBeNull();
      await sleep(100);
    }
    expect(alarms).toEqual([]);
    expect(bench.provider.requestsTo('discovery').length).toBeGreaterThan(1);
  });
});

function definition(issuer: string) {
  return { kind: 'oidc' as const, name: 'fake', issuer, clientId: 'client', clientSecret: 'secret' };
}
