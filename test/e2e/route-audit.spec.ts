import { Controller, Get, Module, UseGuards } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import {
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { firstValueFrom } from 'rxjs';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type AppOptions, freePort, MeController, platforms, startApp } from '../support/app.js';
import { Public, RouteAudit, SessionGuard } from '../../src/index.js';
import { github } from '../../src/providers/index.js';

@Controller('bare')
class BareController {
  @Get() read(): string {
    return '';
  }
  @MessagePattern('sum') sum(): number {
    return 1;
  }
  @EventPattern('told') told(data: unknown): unknown {
    return data;
  }
  @Get('both') @MessagePattern('both') both(): number {
    return 2;
  }
}

@WebSocketGateway()
class BareGateway {
  @SubscribeMessage('whoami') whoami(): string {
    return 'anybody';
  }
}

@Controller()
class GuardedController {
  @MessagePattern('guarded') @UseGuards(SessionGuard) guarded(): number {
    return 1;
  }
  @MessagePattern('public') @Public() open(): number {
    return 1;
  }
}

@WebSocketGateway()
@UseGuards(SessionGuard)
class GuardedGateway {
  @SubscribeMessage('whoami') whoami(): string {
    return '';
  }
}

@Module({ providers: [{ provide: APP_GUARD, useClass: SessionGuard }] })
class GuardedEverywhere {}

describe.each(platforms)('the audit of messages on %s', (platform) => {
  let database: TestDatabase;
  let port: number;

  beforeAll(async () => {
    database = await createTestDatabase();
    port = await freePort();
  });
  afterAll(() => database?.drop());

  const start = (options: Partial<AppOptions>) =>
    startApp({
      platform,
      database: database.url,
      providers: [github({ clientId: 'client', clientSecret: 'secret' })],
      imports: [GuardedEverywhere],
      ...options,
    });
  const options: MicroserviceOptions = {
    transport: Transport.TCP,
    get options() {
      return { host: '127.0.0.1', port };
    },
  };

  it('E-072 calls open what a global guard does not reach', async () => {
    await using app = await start({
      controllers: [BareController],
      nestProviders: [BareGateway],
      configure: async (nest) => {
        nest.connectMicroservice<MicroserviceOptions>(options);
        await nest.startAllMicroservices();
      },
    });
    // Anybody can call it: the microservice has a configuration of its own, without the application's guards.
    const client = ClientProxyFactory.create(options as never);
    expect(await firstValueFrom(client.send('sum', {}))).toBe(1);
    client.close();
    const routes = app.app.get(RouteAudit).list();
    expect(routes.filter(({ handler }) => handler.startsWith('Bare'))).toEqual([
      { handler: 'BareController.both', policy: 'open', demands: [] },
      { handler: 'BareController.read', policy: 'session', demands: [] },
      { handler: 'BareController.sum', policy: 'open', demands: [] },
      { handler: 'BareController.told', policy: 'open', demands: [] },
      { handler: 'BareGateway.whoami', policy: 'open', demands: [] },
    ]);
  });

  it('E-072 refuses to start in strict mode with a message that has no guard of its own', async () => {
    const oauth = { routes: 'strict' } as const;
    await expect(start({ oauth, controllers: [BareController] })).rejects.toThrow(
      /BareController\.sum is neither guarded by SessionGuard nor marked @Public\(\); a global guard does not count for messages/,
    );
    await expect(start({ oauth, nestProviders: [BareGateway] })).rejects.toThrow(/BareGateway\.whoami is neither/);
    await using app = await start({
      oauth,
      controllers: [MeController, GuardedController],
      nestProviders: [GuardedGateway],
    });
    const routes = app.app.get(RouteAudit).list();
    expect(routes.filter(({ handler }) => handler.startsWith('Guarded'))).toEqual([
      { handler: 'GuardedController.guarded', policy: 'session', demands: [] },
      { handler: 'GuardedController.open', policy: 'public', demands: [] },
      { handler: 'GuardedGateway.whoami', policy: 'session', demands: [] },
    ]);
  });
});
