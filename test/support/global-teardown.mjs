// @ts-check
// Runs once after all tests: ends the embedded server, or leaves a server of the developer's as it was found.
import pg from 'pg';
import { SERVER_VARIABLE, TEMPLATE_VARIABLE, clonePrefix } from './test-server.mjs';

/** Removes what the setup made. */
export default async function globalTeardown() {
  const { oauthTestCluster: cluster } = /** @type {{ oauthTestCluster?: import('./embedded-cluster.mjs').Cluster }} */ (
    globalThis
  );
  if (cluster) return cluster.stop();

  const template = process.env[TEMPLATE_VARIABLE];
  if (!template) return;
  const client = new pg.Client({ connectionString: process.env[SERVER_VARIABLE] });
  await client.connect();
  try {
    const prefix = clonePrefix(template);
    const { rows } = await client.query('select datname from pg_database where starts_with(datname, $1)', [prefix]);
    for (const { datname } of rows) await client.query(`drop database if exists "${datname}" with (force)`);
    await client.query(`alter database ${template} is_template false`);
    await client.query(`drop database ${template} with (force)`);
  } finally {
    await client.end();
  }
}
