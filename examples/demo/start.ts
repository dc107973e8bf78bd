// Starts the demo: Postgres in a local folder, Demo Identity, and the application; ends all of them on Ctrl-C.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startCluster } from '../../test/support/embedded-cluster.mjs';
import { startOidcProvider } from '../../test/support/oidc-provider.mjs';
import { createDemoApp } from './demo-app.js';
import { LOGGED_OUT } from './demo-settings.js';

/** A mistake that the person who starts the demo can mend; printed without a stack. */
class StartProblem extends Error {}

const port = portOf('PORT', 3000);
const identityPort = portOf('IDENTITY_PORT', port + 1);
const folder = process.env.DEMO_DIR ?? fileURLToPath(new URL('../../.demo', import.meta.url));
const baseUrl = `http://localhost:${port}`;
/** Seconds; short, so that refreshing can be watched. */
const ACCESS_TOKEN_LIFETIME = 30;

/** What runs, in the order of starting. */
const running: { name: string; stop: () => Promise<unknown> }[] = [];
let stopping: Promise<void> | undefined;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0));

try {
  await start();
} catch (error) {
  if (!stopping) {
    const message = error instanceof StartProblem ? error.message : error instanceof Error ? error.stack : error;
    console.error(`\n${String(message)}\n`);
    await stop(1);
  }
}

async function start(): Promise<void> {
  await mustBeFree(port, 'the demo', 'PORT');
  await mustBeFree(identityPort, 'Demo Identity', 'IDENTITY_PORT');
  console.log('Starting Postgres …');
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const database = await startCluster({ persistent: true, dataDir: join(folder, 'postgres') }).catch((error: Error) => {
    if (!/in use by another process|belongs to somebody else/.test(error.message)) throw error;
    throw new StartProblem(
      `${error.message}\nIs the demo running already? It keeps its data in ${shown(folder)}; DEMO_DIR names another folder.`,
    );
  });
  running.push({ name: 'Postgres', stop: () => database.stop() });
  if (stopping) return;

  const clientSecret = secret('client-secret');
  const identity = await startOidcProvider({
    port: identityPort,
    accessTokenTtl: ACCESS_TOKEN_LIFETIME,
    clients: [
      {
        client_id: 'nest-oauth-demo',
        client_name: 'the nest-oauth-client demo',
        client_secret: clientSecret,
        redirect_uris: [`${baseUrl}/auth/demo/callback`],
        post_logout_redirect_uris: [baseUrl + LOGGED_OUT],
      },
    ],
  });
  running.push({ name: 'Demo Identity', stop: () => identity.close() });
  if (stopping) return;

  const app = await createDemoApp({
    baseUrl,
    databaseUrl: database.url,
    encryptionKey: secret('encryption-key'),
    issuer: identity.issuer,
    clientId: 'nest-oauth-demo',
    clientSecret,
    environment: process.env,
  });
  running.push({ name: 'the application', stop: () => app.close() });
  await app.listen(port, '127.0.0.1');
  console.log(`
  Open  ${baseUrl}  and click "Log in with Demo Identity".

  Demo Identity   ${identity.issuer}  (sign in as alice or bob, no password)
  Postgres        ${database.url}
  Access tokens   live for ${ACCESS_TOKEN_LIFETIME} seconds here: stay on the dashboard and watch them being renewed.

  Ctrl-C ends everything. The data stays in ${shown(folder)}.
`);
}

/** Ends everything once, the latest first. */
function stop(exitCode: number): Promise<void> {
  return (stopping ??= (async () => {
    if (running.length > 0) console.log('\nStopping …');
    for (const { name, stop: end } of running.reverse()) {
      await end().catch((error: unknown) => console.error(`Could not stop ${name}:`, error));
    }
    process.exit(exitCode);
  })());
}

/** A secret that is made at the first start and kept in the demo's folder, readable by its owner alone. 32 bytes, base64url. */
function secret(name: string): string {
  const file = join(folder, name);
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

function portOf(variable: string, otherwise: number): number {
  const value = Number(process.env[variable] ?? otherwise);
  if (Number.isInteger(value) && value > 0 && value < 65536) return value;
  console.error(`\n${variable} must be a port number, got "${process.env[variable]}".\n`);
  return process.exit(1);
}

async function mustBeFree(wanted: number, what: string, variable: string): Promise<void> {
  for (const host of ['127.0.0.1', '::1', undefined]) {
    const fault = await new Promise<NodeJS.ErrnoException | null>((done) => {
      const server = createServer().once('error', done);
      server.listen({ port: wanted, host }, () => server.close(() => done(null)));
    });
    if (fault?.code !== 'EADDRINUSE' && fault?.code !== 'EACCES') continue;
    const why = fault.code === 'EACCES' ? 'may not be used by you' : 'is taken';
    throw new StartProblem(
      `Port ${wanted}, for ${what}, ${why}. Is the demo running already? Otherwise choose another: ${variable}=${wanted + 10} npm start`,
    );
  }
}

function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') ? path : short || '.';
}
