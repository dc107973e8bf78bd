// @ts-check
// Runs once before all tests: a Postgres server, and in it a migrated database that test files clone.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import pg from 'pg';
import './typescript.mjs';
import { startCluster } from './embedded-cluster.mjs';
import { SERVER_VARIABLE, TEMPLATE_VARIABLE } from './test-server.mjs';

const migrations = new URL('../../migrations/index.ts', import.meta.url);

/** Uses the server of `DATABASE_URL` where that is set, and an embedded one otherwise. */
export default async function globalSetup() {
  const cluster = process.env.DATABASE_URL ? undefined : await startCluster();
  const server = cluster?.url ?? /** @type {string} */ (process.env.DATABASE_URL);
  const template = `oauth_template_${randomBytes(6).toString('hex')}`;
  try {
    await createTemplate(server, template);
  } catch (failure) {
    await cluster?.stop();
    throw failure;
  }
  process.env[SERVER_VARIABLE] = server;
  process.env[TEMPLATE_VARIABLE] = template;
  Object.assign(globalThis, { oauthTestCluster: cluster });
}

/** @param {string} server @param {string} template */
async function createTemplate(server, template) {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    await client.query(`create database ${template} template template0`);
    if (existsSync(migrations)) await migrate(server, template);
    // Nobody can connect to it from now on, so nothing ever stands in the way of a clone.
    await client.query(`alter database ${template} allow_connections false is_template true`);
  } finally {
    await client.end();
  }
}

/** @param {string} server @param {string} template */
async function migrate(server, template) {
  const { oauthMigrations } = await import(migrations.href);
  const { DataSource } = await import('typeorm');
  const url = new URL(server);
  url.pathname = `/${template}`;
  const dataSource = await new DataSource({
    type: 'postgres',
    url: url.href,
    migrations: oauthMigrations,
  }).initialize();
  try {
    await dataSource.runMigrations();
  } finally {
    await dataSource.destroy();
  }
}
