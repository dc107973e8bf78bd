// @ts-check
// One process with an application in it, told by APP_SETTINGS what to start; says its address and obeys signals.
import 'reflect-metadata';
import './typescript.mjs';

const settings = JSON.parse(process.env.APP_SETTINGS ?? '{}');
const { MeController, oidcOf, startApp } = await import('./app.js');
MeController.apiUrl = `${settings.provider.apiUrl}/me`;
const { address } = await startApp({
  port: settings.port,
  database: settings.database,
  providers: [oidcOf(settings.provider, { timeout: settings.timeout })],
  oauth: settings.oauth,
});
process.send?.({ address });
