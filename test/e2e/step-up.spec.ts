import { Controller, Get, Post, UseGuards } from '@nestjs/common';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { MeController, oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import { Public, RequireAcr, RequireFreshAuth, RequireScopes, SessionGuard } from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';

@Controller('vault')
@UseGuards(SessionGuard)
class VaultController {
  @Get('fresh') @RequireFreshAuth({ maxAge: 300 }) fresh(): object {
    return { entered: 'fresh' };
  }
  @Post('fresh') @RequireFreshAuth() write(): object {
    return { entered: 'write' };
  }
  @Get('strong') @RequireAcr('mfa', 'phrh') strong(): object {
    return { entered: 'strong' };
  }
  @Get('scoped') @RequireScopes('openid', 'admin') scoped(): object {
    return { entered: 'scoped' };
  }
}

@Public()
@Controller('mixed')
@UseGuards(SessionGuard)
class MixedController {
  @Get('open') open(): object {
    return {};
  }
  @Get('scoped') @RequireScopes('admin') scoped(): object {
    return {};
  }
}

@Public()
class OpenBase {}

@Controller('inherited')
@UseGuards(SessionGuard)
@RequireScopes('admin')
class InheritedController extends OpenBase {
  @Get() read(): object {
    return {};
  }
  @Public() @Get('open') open(): object {
    return {};
  }
}

@Public()
@Controller('both')
@UseGuards(SessionGuard)
@RequireFreshAuth()
class BothController {
  @Get() read(): object {
    return {};
  }
}

describe.each(platforms)('step-up on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    app = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider)],
      controllers: [MeController, VaultController, MixedController, InheritedController, BothController],
    });
  });
  beforeEach(() => provider.reset());
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  async function login(): Promise<UserAgent> {
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    return agent;
  }
  const age = (seconds: number) =>
    database.query(`update oauth_sessions set auth_time = now() - make_interval(secs => $1)`, [seconds]);

  it.each([4_102_444_800, 1e12, Math.floor(Date.now() / 1000) + 600])(
    'D-024 takes an auth_time in the future (%d) for unknown, not for fresh',
    async (authTime) => {
      provider.tamper('idToken', (claims) => ({ ...claims, auth_time: authTime }));
      const agent = await login();
      const answer = await agent.fetch(`${app.url}/vault/fresh`);
      expect([answer.status, (await agent.fetch(`${app.url}/me`)).status]).toEqual([401, 200]);
    },
  );

  it('D-024 A-074 sends a person whose login is old to authenticate again, and back to the same page, with a new session id', async () => {
    const agent = await login();
    const before = agent.cookie('oauth_session')!;
    await age(301);
    const answer = await agent.navigate(`${app.url}/vault/fresh?x=1`);
    expect([answer.status, answer.url, answer.json()]).toEqual([
      200,
      `${app.url}/vault/fresh?x=1`,
      { entered: 'fresh' },
    ]);
    const authorize = provider.requestsTo('authorize').at(-1)!;
    expect([authorize.query.get('max_age'), authorize.query.get('prompt')]).toEqual(['300', 'login']);
    // C-001: the old id is dead.
    const cookie = `oauth_session=${before}`;
    expect((await agent.request({ url: `${app.url}/me`, headers: { cookie }, keepCookies: false })).status).toBe(401);
    expect(agent.cookie('oauth_session')).not.toBe(before);
    expect((await agent.fetch(`${app.url}/vault/fresh`, { method: 'POST' })).json()).toEqual({ entered: 'write' });
  });

  it('D-024 tells scripts 401 with the RFC 9470 challenge and a login URL that mends it', async () => {
    const agent = await login();
    await age(301);
    const answer = await agent.fetch(`${app.url}/vault/fresh`, { method: 'POST' });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_user_authentication", max_age="300"',
    );
    const { code, loginUrl } = answer.json<{ code: string; loginUrl: string }>();
    expect(code).toBe('step_up_required');
    await agent.navigate(loginUrl);
    expect((await agent.fetch(`${app.url}/vault/fresh`, { method: 'POST' })).status).toBe(201);
    const weak = await agent.fetch(`${app.url}/vault/strong`);
    expect(weak.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_user_authentication", acr_values="mfa phrh"',
    );
  });

  it('D-024 asks for a stronger login, and refuses one that is not', async () => {
    const agent = await login();
    const answer = await agent.navigate(`${app.url}/vault/strong`);
    expect([answer.status, answer.json()]).toEqual([200, { entered: 'strong' }]);
    expect(provider.requestsTo('authorize').at(-1)!.query.get('acr_values')).toBe('mfa phrh');
    provider.configure({ acr: 'pwd' });
    const other = await login();
    const refused = await other.navigate(`${app.url}/vault/strong`);
    expect([refused.status, refused.body.includes('entered')]).toEqual([403, false]);
    expect((await other.fetch(`${app.url}/me`)).status).toBe(200);
  });

  it('A-074 D-024 refuses a provider that says an old time or none, and does not go round in circles', async () => {
    for (const behaviour of [{ authAge: 3600 }, { authAge: 340 }, { authTime: 'never' as const }]) {
      provider.reset();
      const agent = await login();
      provider.configure(behaviour);
      const answer = await agent.navigate(`${app.url}/vault/fresh`);
      expect([JSON.stringify(behaviour), answer.status]).toEqual([JSON.stringify(behaviour), expect.any(Number)]);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(provider.requestsTo('authorize').length).toBeLessThanOrEqual(2);
    }
  });

  it('D-024 nothing in a request fakes it: headers, parameters, an altered or somebody else’s step_up', async () => {
    const agent = await login();
    await age(301);
    const url = `${app.url}/vault/fresh?max_age=9999&auth_time=${Math.floor(Date.now() / 1000)}&acr=mfa`;
    const faked = await agent.fetch(url, { headers: { 'x-auth-time': '9999999999', 'x-acr': 'mfa' } });
    expect(faked.status).toBe(401);
    const { loginUrl } = faked.json<{ loginUrl: string }>();
    const altered = new URL(loginUrl);
    altered.searchParams.set(
      'step_up',
      altered.searchParams.get('step_up')!.replace(/.$/, (c) => (c === 'A' ? 'Q' : 'A')),
    );
    expect((await agent.navigate(altered.href)).status).toBe(400);
    const before = provider.requestsTo('authorize').length;
    const stranger = new UserAgent();
    await stranger.navigate(loginUrl);
    expect(provider.requestsTo('authorize').length).toBe(before + 1);
    expect(provider.requestsTo('authorize').at(-1)!.query.has('max_age')).toBe(false);
    expect((await agent.fetch(`${app.url}/vault/fresh`)).status).toBe(401);
  });

  it('C-001 refuses a step-up that somebody else answers, or whose session has ended', async () => {
    const agent = await login();
    await age(301);
    const before = agent.cookie('oauth_session');
    provider.user({ sub: 'somebody-else' });
    expect((await agent.navigate(`${app.url}/vault/fresh`)).status).toBe(403);
    expect(agent.cookie('oauth_session')).toBe(before);
    expect((await agent.fetch(`${app.url}/me`)).json()).toMatchObject({ user: { subject: 'user-1' } });

    provider.reset();
    const hold = provider.hold('token');
    const pending = agent.navigate(`${app.url}/vault/fresh`);
    await hold.arrived;
    await database.query('delete from oauth_sessions');
    hold.release();
    expect((await pending).status).toBe(400);
  });

  it('answers missing scope with 403 and a way to grant it', async () => {
    const agent = await login();
    const answer = await agent.fetch(`${app.url}/vault/scoped`);
    expect([answer.status, answer.json()]).toMatchObject([403, { code: 'insufficient_scope' }]);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope", scope="openid admin"');
    expect((await agent.navigate(`${app.url}/vault/scoped`)).status).toBe(403);
    await agent.navigate(answer.json<{ loginUrl: string }>().loginUrl);
    expect((await agent.fetch(`${app.url}/vault/scoped`)).status).toBe(200);
  });

  it('a demand of a handler is not opened by @Public() on its controller', async () => {
    const nobody = new UserAgent();
    expect((await nobody.fetch(`${app.url}/mixed/open`)).status).toBe(200);
    expect((await nobody.fetch(`${app.url}/mixed/scoped`)).status).toBe(401);
  });

  it('C-019 a demand of a controller is not opened by @Public() on it or on what it extends, only on a handler', async () => {
    const nobody = new UserAgent();
    expect((await nobody.fetch(`${app.url}/inherited`)).status).toBe(401);
    expect((await nobody.fetch(`${app.url}/both`)).status).toBe(401);
    expect((await nobody.fetch(`${app.url}/inherited/open`)).status).toBe(200);
    const agent = await login();
    expect((await agent.navigate(`${app.url}/both`)).status).toBe(200);
  });
});
