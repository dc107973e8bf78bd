// What guarded handlers answer belongs to one user: headers of the application's own routes behind the guard.
import { Controller, Get, Header, type INestApplication, NotFoundException, Res, UseGuards } from '@nestjs/common';
import { CurrentUser, Public, RequireScopes, SessionGuard } from '../../src/index.js';
import { MeController, platforms } from '../support/app.js';
import { type CachingProxy, startCachingProxy } from '../support/caching-proxy.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';
import { UserAgent } from '../support/user-agent.js';

const ORIGIN = 'https://app.example';

@Controller('answers')
@UseGuards(SessionGuard)
class AnswersController {
  @Get('plain') plain(@CurrentUser('subject') subject: string): object {
    return { subject };
  }
  @Get('kept') @Header('Cache-Control', 'private, max-age=60') kept(): string {
    return 'theirs to keep';
  }
  @Get('varied') @Header('Vary', 'Accept-Language') varied(): string {
    return 'in many languages';
  }
  @Get('raw') raw(@Res() response: { send(body: string): void }): void {
    response.send('raw');
  }
  @Get('missing') missing(): never {
    throw new NotFoundException();
  }
  @Get('scoped') @RequireScopes('admin') scoped(): string {
    return 'never';
  }
  @Public() @Get('open') @Header('Cache-Control', 'public, max-age=60') open(): string {
    return 'for everybody';
  }
  @Public() @Get('bare') bare(): string {
    return 'for everybody';
  }
}

/** An application's own middleware, which ran before the guard. */
function withMiddleware(app: INestApplication): void {
  app.use((request: { url: string }, response: { setHeader(name: string, value: string): void }, next: () => void) => {
    if (request.url.includes('cors')) response.setHeader('Vary', 'Origin');
    if (request.url.includes('any')) response.setHeader('vary', '*');
    if (request.url.includes('cookied')) response.setHeader('vary', 'Accept, cookie');
    if (request.url.includes('aged')) response.setHeader('Cache-Control', 'private');
    next();
  });
}

describe.each(platforms)('answers of guarded handlers on %s', (platform) => {
  let at: LoginFixture;
  let agent: UserAgent;
  let proxy: CachingProxy;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      baseUrl: ORIGIN,
      controllers: [MeController, AnswersController],
      configure: withMiddleware,
    });
    agent = at.agent();
    await at.login(agent);
    proxy = await startCachingProxy(at.app.address);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await at?.close();
  });

  const headersOf = async (path: string, who = agent): Promise<[number, string | null, string | null]> => {
    const { status, headers } = await who.fetch(`${ORIGIN}/answers/${path}`);
    return [status, headers.get('cache-control'), headers.get('vary')];
  };

  it('C-014 keeps caches from storing what it answers, errors and refusals too', async () => {
    expect(await headersOf('plain')).toEqual([200, 'no-store', 'Cookie']);
    expect(await headersOf('raw')).toEqual([200, 'no-store', 'Cookie']);
    expect(await headersOf('missing')).toEqual([404, 'no-store', 'Cookie']);
    expect(await headersOf('scoped')).toEqual([403, 'no-store', 'Cookie']);
    expect(await headersOf('plain', at.agent())).toEqual([401, 'no-store', 'Cookie']);
    const person = await at.agent().navigate(`${ORIGIN}/answers/plain`, { followRedirects: false });
    expect([person.status, person.headers.get('cache-control'), person.headers.get('vary')]).toEqual([
      302,
      'no-store',
      'Cookie',
    ]);
  });

  it('a handler that says otherwise is obeyed; what others put into Vary stays', async () => {
    expect(await headersOf('kept')).toEqual([200, 'private, max-age=60', 'Cookie']);
    expect(await headersOf('varied')).toEqual([200, 'no-store', 'Accept-Language']);
    expect(await headersOf('plain?cors')).toEqual([200, 'no-store', 'Origin, Cookie']);
    expect(await headersOf('plain?any')).toEqual([200, 'no-store', '*']);
    expect(await headersOf('plain?cookied')).toEqual([200, 'no-store', 'Accept, cookie']);
    expect(await headersOf('plain?aged')).toEqual([200, 'private', 'Cookie']);
  });

  it('public handlers are left alone', async () => {
    for (const who of [agent, at.agent()]) {
      expect((await headersOf('open', who)).slice(0, 2)).toEqual([200, 'public, max-age=60']);
      expect((await headersOf('bare', who)).slice(0, 2)).toEqual([200, null]);
      expect((await headersOf('bare', who))[2] ?? '').not.toMatch(/cookie/i);
    }
  });

  it('C-014 two users through one careless cache never see each other’s answers', async () => {
    const through = () => new UserAgent({ origins: { [ORIGIN]: proxy.url } });
    const [one, two] = [through(), through()];
    for (const [who, sub] of [
      [one, 'first'],
      [two, 'second'],
    ] as const) {
      at.provider.user({ sub });
      await at.login(who);
    }
    // The cache does cache: what is public comes from the application once.
    for (const who of [one, two]) await who.fetch(`${ORIGIN}/answers/open`);
    expect(proxy.hits).toBe(1);
    for (const path of ['/answers/plain', '/answers/kept', '/me', '/auth/session', '/auth/sessions']) {
      const [first, second] = [await one.fetch(ORIGIN + path), await two.fetch(ORIGIN + path)];
      expect([path, first.status, second.status]).toEqual([path, 200, 200]);
      if (path !== '/answers/kept') expect([path, first.body === second.body]).toEqual([path, false]);
      const nobody = await through().fetch(ORIGIN + path);
      expect([path, nobody.status]).toEqual([path, 401]);
    }
    expect(proxy.hits).toBe(1);
  });
});
