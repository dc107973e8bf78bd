import { Controller, UseGuards } from '@nestjs/common';
import {
  type ClientProxy,
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { freePort, platforms, type RunningApp, startApp } from '../support/app.js';
import { OAuthError, Public, SessionGuard } from '../../src/index.js';
import { github } from '../../src/providers/index.js';

let entered = 0;

@Controller()
@UseGuards(SessionGuard)
class RpcController {
  @MessagePattern('sum') sum(): number {
    return ++entered;
  }
  @EventPattern('told') told(data: unknown): unknown {
    entered++;
    return data;
  }
  @MessagePattern('broken') @Public() broken(): never {
    throw new OAuthError('reauth_required', {
      provider: 'fake',
      loginUrl: 'https://app.example.com/auth/fake/login',
      cause: new Error('what the provider said'),
    });
  }
  @MessagePattern('open') @Public() open(): string {
    return 'open';
  }
}

describe.each(platforms)('a microservice with the filter of the application, beside %s', (platform) => {
  let database: TestDatabase;
  let app: RunningApp;
  let client: ClientProxy;

  beforeAll(async () => {
    database = await createTestDatabase();
    const tcp = { host: '127.0.0.1', port: await freePort() };
    app = await startApp({
      platform,
      database: database.url,
      providers: [github({ clientId: 'client', clientSecret: 'secret' })],
      controllers: [RpcController],
      configure: async (nest) => {
        nest.connectMicroservice<MicroserviceOptions>(
          { transport: Transport.TCP, options: tcp },
          { inheritAppConfig: true },
        );
        await nest.startAllMicroservices();
      },
    });
    client = ClientProxyFactory.create({ transport: Transport.TCP, options: tcp });
  });
  afterAll(async () => {
    client?.close();
    await app?.close();
    await database?.drop();
  });

  it('E-072 a refusal arrives as an error, with what may be shown and nothing else', async () => {
    await expect(firstValueFrom(client.send('sum', {}))).rejects.toEqual({
      code: 'unauthenticated',
      status: 401,
      message: new OAuthError('unauthenticated').message,
    });
    await expect(firstValueFrom(client.send('broken', {}))).rejects.toEqual({
      code: 'reauth_required',
      status: new OAuthError('reauth_required').statusCode,
      message: new OAuthError('reauth_required').message,
      loginUrl: 'https://app.example.com/auth/fake/login',
    });
  });

  it('E-072 a refused event disturbs nobody', async () => {
    await firstValueFrom(client.emit('told', {}));
    expect(await firstValueFrom(client.send('open', {}))).toBe('open');
    expect(entered).toBe(0);
  });
});
