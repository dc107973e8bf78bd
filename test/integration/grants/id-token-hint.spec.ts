// The ID token that comes with a refresh, as the next `id_token_hint`.
import { type Grants, startGrants } from '../../support/grants.js';
import type { UserAgent } from '../../support/user-agent.js';

/** Logs out here and gives the hint that the provider is sent. */
async function hintOf(grants: Grants, agent: UserAgent): Promise<string | null> {
  const answer = await agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
  return new URL(answer.json<{ logoutUrl: string }>().logoutUrl).searchParams.get('id_token_hint');
}

/** The latest ID token that the provider issued. */
function latest(grants: Grants): string {
  return grants.provider.issued.filter(({ kind }) => kind === 'idToken').at(-1)!.value;
}

describe('the ID token of a refresh', () => {
  it('A-096 is the next id_token_hint, once it was found good', async () => {
    await using grants = await startGrants();
    const { agent, grantId } = await grants.logIn();
    const atLogin = latest(grants);
    for (let round = 0; round < 2; round++) {
      await grants.expire();
      await grants.tokens.getAccessToken(grantId);
    }
    expect(latest(grants)).not.toBe(atLogin);
    expect(await hintOf(grants, agent)).toBe(latest(grants));
  });

  it('A-095 A-096 is not kept when it is refused', async () => {
    await using grants = await startGrants();
    const { agent, grantId } = await grants.logIn();
    const atLogin = latest(grants);
    await grants.expire();
    grants.provider.tamper('idToken', (claims) => void (claims.nonce = 'another-nonce'));
    await expect(grants.tokens.getAccessToken(grantId)).rejects.toMatchObject({ code: expect.any(String) });
    expect(await hintOf(grants, agent)).toBe(atLogin);
  });

  it('A-095 is still compared with the time of the login after one that did not name it', async () => {
    await using grants = await startGrants();
    grants.provider.configure({ authTime: 'always' });
    const { grantId } = await grants.logIn();
    let authTime: unknown = 'left out';
    grants.provider.tamper('idToken', (claims) => {
      if (authTime === 'left out') delete claims.auth_time;
      else claims.auth_time = (claims.auth_time as number) + 300;
    });
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    authTime = 'changed';
    await grants.expire();
    await expect(grants.tokens.getAccessToken(grantId)).rejects.toMatchObject({ code: expect.any(String) });
  });

  it('goes to those sessions alone that are about the same session of the provider', async () => {
    await using grants = await startGrants();
    const one = await grants.logIn();
    const atLogin = latest(grants);
    const two = await grants.logIn();
    expect(two.grantId).toBe(one.grantId);
    const [sids] = await grants.database.query('select count(distinct sid)::int as n from oauth_sessions');
    expect(sids).toEqual({ n: 2 });
    await grants.expire();
    await grants.tokens.getAccessToken(two.grantId);
    const refreshed = latest(grants);
    expect(await hintOf(grants, two.agent)).toBe(refreshed);
    expect(await hintOf(grants, one.agent)).toBe(atLogin);
  });
});
