// AsyncLocalStorage: many requests are answered together, and what each calls of the application's stays in its own context.
import { AsyncLocalStorage } from 'node:async_hooks';
import { Controller, Get, type INestApplication, UseGuards } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { CurrentUser, type OAuthUser, SessionGuard } from '../../src/index.js';
import { platforms } from '../support/app.js';
import { startLogin } from '../support/login-fixture.js';

const tenants = new AsyncLocalStorage<string>();
const tenantOf = (headers: Record<string, unknown>) => String(headers['x-tenant']);

interface Member extends OAuthUser {
  tenant: string | undefined;
}

@Controller('tenant')
@UseGuards(SessionGuard)
class TenantController {
  @Get() show(@CurrentUser() user: unknown): object {
    return { loadedFor: (user as Partial<Member>).tenant, handledFor: tenants.getStore() };
  }
}

/** As an application does it: the tenant is known to whatever a request leads to. */
function withTenants(app: INestApplication, platform: string): void {
  if (platform === 'fastify') {
    (app as NestFastifyApplication)
      .getHttpAdapter()
      .getInstance()
      .addHook('onRequest', (request, _, done) => tenants.run(tenantOf(request.headers), done));
  } else {
    app.use((request: { headers: Record<string, unknown> }, _: unknown, next: () => void) =>
      tenants.run(tenantOf(request.headers), next),
    );
  }
}

describe.each(platforms)('requests of one moment on %s', (platform) => {
  it.each([true, false])('each have a context of their own, with loadUser: %s', async (loading) => {
    const loadUser = (user: OAuthUser) => ({ ...user, tenant: tenants.getStore() });
    await using at = await startLogin({
      platform,
      controllers: [TenantController],
      configure: (app) => withTenants(app, platform),
      oauth: loading ? { loadUser } : {},
    });
    const agent = at.agent();
    await at.login(agent);
    const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
    for (let round = 0; round < 10; round++) {
      const asked = Array.from({ length: 10 }, (_, index) => `tenant-${index}`);
      const answers = await Promise.all(
        asked.map(async (tenant) => {
          const answer = await fetch(`${at.app.url}/tenant`, { headers: { cookie, 'x-tenant': tenant } });
          return (await answer.json()) as object;
        }),
      );
      expect(answers).toEqual(
        asked.map((tenant) => ({ ...(loading ? { loadedFor: tenant } : {}), handledFor: tenant })),
      );
    }
  });
});
