// Creates the demo's Nest application. Nothing in here knows how Postgres or the provider were started.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { AppModule } from './app.module.js';
import { DemoSettings } from './demo-settings.js';

/** Creates the application; the caller makes it listen. */
export async function createDemoApp(settings: DemoSettings): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule.with(new DemoSettings(settings)), {
    logger: ['error', 'warn'],
    abortOnError: false,
  });
  const { origin } = new URL(settings.issuer);
  const policy = [
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    // Logging out may go on to the provider, to log out there, too.
    `form-action 'self' ${origin}`,
  ].join('; ');
  app.use((_request: unknown, response: { setHeader(name: string, value: string): void }, next: () => void) => {
    response.setHeader('content-security-policy', policy);
    response.setHeader('x-content-type-options', 'nosniff');
    next();
  });
  return app;
}
