// @ts-check
// One process of an application, on the sources: told by messages what to do, made to be killed. See grant-process.ts.
import 'reflect-metadata';
import './typescript.mjs';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';

const { OAuthModule, SessionService, TokenService, oidc } = await import('../../src/index.js');
const settings = JSON.parse(process.env.GRANT_PROCESS ?? '{}');

class ProcessModule {}
const app = await NestFactory.createApplicationContext(
  {
    module: ProcessModule,
    imports: [
      TypeOrmModule.forRoot({ type: 'postgres', url: settings.database, autoLoadEntities: true, retryAttempts: 1 }),
      OAuthModule.forRoot({
        baseUrl: 'http://localhost:9',
        encryption: { keys: settings.keys },
        providers: [oidc(settings.provider)],
        cleanup: false,
      }),
    ],
  },
  { logger: false },
);

/** @type {Record<string, (message: any) => Promise<unknown>>} */
const acts = {
  token: async ({ grantId }) => (await app.get(TokenService).getAccessToken(grantId)).value,
  endSession: ({ userId, sessionId }) => app.get(SessionService).end(userId, sessionId),
};
process.on('message', async (/** @type {any} */ message) => {
  const { id, act } = message;
  try {
    process.send?.({ id, result: await acts[act]?.(message) });
  } catch (error) {
    process.send?.({ id, error: /** @type {{ code?: string }} */ (error).code ?? String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 'ready' });
