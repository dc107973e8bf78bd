// @ts-check
// One process of the storm: a Nest application context, told by messages which tokens to fetch. It reads the compiled
// package, or the sources where STORM_SOURCE says so.
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';

const settings = JSON.parse(process.env.STORM_SETTINGS ?? '{}');
if (settings.source === 'src') await import('../support/typescript.mjs');
const entry = settings.source === 'src' ? '../../src/index.js' : '../../dist/src/index.js';
const { OAuthModule, TokenService, oauth2 } = await import(entry);

class StormModule {}
const module = {
  module: StormModule,
  imports: [
    TypeOrmModule.forRoot({
      type: 'postgres',
      url: settings.database,
      autoLoadEntities: true,
      poolSize: settings.poolSize,
      retryAttempts: 1,
    }),
    OAuthModule.forRoot({
      baseUrl: 'http://localhost:9',
      encryption: { keys: [{ id: 'storm', secret: settings.key }] },
      providers: [oauth2({ ...settings.provider, profile: () => ({ id: 'nobody' }) })],
      cleanup: false,
      refresh: { floor: settings.floor },
      ...(settings.listenUrl ? { listen: { url: settings.listenUrl } } : {}),
    }),
  ],
};
const app = await NestFactory.createApplicationContext(module, { logger: false });
const tokens = app.get(TokenService);
/** How long the refreshes of this process took. */
let refreshMs = 0;
tokens.events.on(
  'refreshed',
  (/** @type {{ durationMs: number }} */ { durationMs }) => (refreshMs = Math.max(refreshMs, durationMs)),
);

/** @param {string} grantId @param {object} [request] */
async function call(grantId, request) {
  const began = performance.now();
  try {
    const { value } = await tokens.getAccessToken(grantId, request);
    return { grantId, value, ms: performance.now() - began };
  } catch (error) {
    return {
      grantId,
      error: /** @type {{ code?: string }} */ (error).code ?? String(error),
      because: /** @type {{ cause?: { message?: string } }} */ (error).cause?.message,
      ms: performance.now() - began,
    };
  }
}

let busy = false;
process.on('message', async (/** @type {any} */ message) => {
  if (message.kind === 'burst') {
    refreshMs = 0;
    const calls = message.grantIds.flatMap((/** @type {string} */ id) =>
      Array.from({ length: message.callers }, () => call(id)),
    );
    process.send?.({ kind: 'results', results: await Promise.all(calls), refreshMs });
  }
  if (message.kind === 'loop') {
    busy = true;
    while (busy) {
      const grantId = message.grantIds[Math.floor(Math.random() * message.grantIds.length)];
      const result = await call(grantId, { forceRefresh: true });
      process.send?.({ kind: 'looped', result });
      await sleep(5);
    }
  }
  if (message.kind === 'stop') busy = false;
  if (message.kind === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, message.milliseconds);
});
process.on('disconnect', () => process.exit(0));
process.send?.({ kind: 'ready' });
