// The scope that was granted counts, not the one that was asked for (RFC 6749 §3.3, §5.1).
import { Controller, Get, UseGuards } from '@nestjs/common';
import { CurrentSession, type OAuthSession, RequireScopes, SessionGuard } from '../../src/index.js';
import { MeController, platforms } from '../support/app.js';
import { LoginBench } from '../support/login-bench.js';

@Controller('mail')
@UseGuards(SessionGuard)
class MailController {
  @Get('any')
  any(@CurrentSession() session: OAuthSession): object {
    return { scope: session.scope };
  }

  @Get('read')
  @RequireScopes('mail.read')
  read(): object {
    return { done: true };
  }

  @Get('write')
  @RequireScopes('mail.read', 'mail.write')
  write(): object {
    return { done: true };
  }
}

const asked = ['openid', 'mail.read', 'mail.write'];

describe.each(platforms)('granted scope (%s)', (platform) => {
  it.each([
    ['missing', null, asked, [200, 200]],
    ['narrower', 'openid mail.read', ['openid', 'mail.read'], [200, 403]],
    ['empty', '', [], [403, 403]],
    ['wider', 'openid mail.read mail.write admin', [...asked, 'admin'], [200, 200]],
    ['doubled and spaced', ' mail.read  mail.read openid ', ['mail.read', 'openid'], [200, 403]],
  ] as const)(
    'A-032 %s at login: that is the session’s, and @RequireScopes judges by it',
    async (_, scope, granted, statuses) => {
      await using bench = await start({ scope });
      const { agent } = await bench.login();
      expect((await agent.fetch(`${bench.app.url}/mail/any`)).json()).toEqual({ scope: granted });
      expect((await agent.fetch(`${bench.app.url}/auth/session`)).json()).toMatchObject({ scope: granted });
      const [read, write] = [
        await agent.fetch(`${bench.app.url}/mail/read`),
        await agent.fetch(`${bench.app.url}/mail/write`),
      ];
      expect([read.status, write.status]).toEqual(statuses);
      if (write.status === 403) expect(write.json()).toMatchObject({ code: 'insufficient_scope' });
    },
  );

  it.each([
    ['missing', null, asked, 200],
    ['narrower', 'openid mail.read', ['openid', 'mail.read'], 403],
    ['empty', '', [], 403],
  ] as const)('A-032 %s at a refresh: from then on that is what counts', async (_, scope, granted, status) => {
    await using bench = await start({});
    const { agent } = await bench.login();
    expect((await agent.fetch(`${bench.app.url}/mail/write`)).status).toBe(200);
    bench.provider.configure({ scope });
    bench.provider.expireAccessTokens();
    expect((await agent.fetch(`${bench.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
    expect(bench.provider.refreshCount).toBe(1);
    expect((await agent.fetch(`${bench.app.url}/mail/any`)).json()).toEqual({ scope: granted });
    expect((await agent.fetch(`${bench.app.url}/mail/write`)).status).toBe(status);
  });

  function start(provider: { scope?: string | null }): Promise<LoginBench> {
    return LoginBench.start({
      provider,
      client: { scope: ['mail.read', 'mail.write'] },
      app: { platform, controllers: [MeController, MailController] },
    });
  }
});
