// Which answers of an API say that the token is no good, and which only look like it.
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { startGrants } from '../../support/grants.js';

const DPOP = { definition: { dpop: true } };

describe('a 401 that says nothing about our token', () => {
  it('A-044 costs no refresh when a foreign server gave it, after a redirect', async () => {
    await using grants = await startGrants();
    const { grantId } = await grants.logIn();
    const foreign = createServer((request, response) => {
      const back = `${grants.provider.apiUrl}/me`;
      if (request.url === '/back') response.writeHead(302, { location: back }).end();
      else response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('who are you?');
    }).listen(0, '127.0.0.1');
    await once(foreign, 'listening');
    const origin = `http://localhost:${(foreign.address() as AddressInfo).port}`;
    for (const path of ['/', '/back']) {
      grants.provider.fault('api', { kind: 'redirect', location: `${origin}${path}`, times: 1 });
      expect((await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`)).status).toBe(401);
    }
    expect(grants.provider.counters.refreshes).toBe(0);
    expect(grants.seen('refreshed')).toEqual([]);
    foreign.close();
  });

  it('A-063 costs one more try when an API asks for ever new DPoP nonces, and no refresh', async () => {
    await using grants = await startGrants(DPOP);
    const { grantId } = await grants.logIn();
    grants.provider.configure({ apiDpopNonce: 'endless' });
    expect((await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`)).status).toBe(401);
    expect(grants.provider.requestsTo('api')).toHaveLength(2);
    expect(grants.provider.counters.refreshes).toBe(0);
  });

  it('A-063 costs one more try when the token endpoint does so at a refresh; the grant is kept, however often', async () => {
    await using grants = await startGrants({ ...DPOP, oauth: { refresh: { floor: 0 } } });
    const [{ grantId }, other] = [await grants.logIn(), await grants.logIn('user-2')];
    await grants.expire();
    for (let round = 1; round <= 3; round++) {
      grants.provider.clearRequests();
      grants.provider.configure({ dpopNonce: 'endless' });
      await expect(grants.tokens.getAccessToken(grantId)).rejects.toMatchObject({ provider: 'fake' });
      expect(grants.provider.requestsTo('refresh')).toHaveLength(2);
      grants.provider.configure({ dpopNonce: 'off' });
      // Others succeed there: a refusal that named no reason would now be the end of the grant.
      await grants.tokens.getAccessToken(other.grantId, { forceRefresh: true });
    }
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(grants.seen('reauthRequired')).toEqual([]);
  });

  it('A-044 still costs one refresh and one retry where the declared API gave it', async () => {
    await using grants = await startGrants();
    const { grantId } = await grants.logIn();
    const fault = grants.provider.fault('api', { kind: 'status', status: 401 });
    expect((await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`)).status).toBe(401);
    expect([fault.hits, grants.provider.counters.refreshes]).toEqual([2, 1]);
  });
});

describe('a 401 whose body breaks off', () => {
  it('A-044 is no reason for another failure: the token is refreshed, and the API asked once more', async () => {
    let asked = 0;
    const api = createServer((_request, response) => {
      if (++asked > 1) return void response.end('well');
      response.writeHead(401, { 'content-length': '100' }).write('{"error":');
      setImmediate(() => response.destroy());
    }).listen(0, '127.0.0.1');
    await once(api, 'listening');
    const origin = `http://localhost:${(api.address() as AddressInfo).port}`;
    await using grants = await startGrants({ definition: { apiOrigins: [origin] } });
    const { grantId } = await grants.logIn();
    const answer = await grants.tokens.fetch(grantId, `${origin}/me`);
    expect([answer.status, await answer.text()]).toEqual([200, 'well']);
    expect([asked, grants.provider.counters.refreshes]).toEqual([2, 1]);
    api.close();
  });
});
