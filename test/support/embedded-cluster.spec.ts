import { afterEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { sweepStaleClusters } from './cluster-owner.mjs';
import { isRoot } from './embedded-binaries.mjs';
import { startCluster, type Cluster } from './embedded-cluster.mjs';

const module = new URL('./embedded-cluster.mjs', import.meta.url).href;

/** Starts a cluster in another process and gives what it says of it. */
async function startElsewhere(options: object) {
  const code = `const { startCluster } = await import(${JSON.stringify(module)});
    const { url, dataDir, pid } = await startCluster(${JSON.stringify(options)});
    console.log(JSON.stringify({ url, dataDir, pid }));
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const failed = once(owner, 'exit').then(() => Promise.reject(new Error('The other process ended.')));
  const [line] = (await Promise.race([once(owner.stdout, 'data'), failed])) as [Buffer];
  failed.catch(() => {});
  return { owner, ...(JSON.parse(line.toString()) as Pick<Cluster, 'url' | 'dataDir' | 'pid'>) };
}

async function rows(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('startCluster', () => {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });
  function folder(): string {
    const made = mkdtempSync(join(tmpdir(), 'cluster-spec-'));
    folders.push(made);
    return made;
  }

  it('runs as somebody who is not root, on loopback, and leaves nothing behind', async () => {
    const cluster = await startCluster({ settings: { work_mem: '7MB' } });
    expect(await rows(cluster.url, 'show work_mem')).toEqual([{ work_mem: '7MB' }]);
    await expect(rows(cluster.url.replace(/:[^:@]+@/, ':guess@'), 'select 1')).rejects.toThrow(/password/);
    await cluster.stop();
    expect(existsSync(cluster.dataDir)).toBe(false);
    await expect(rows(cluster.url, 'select 1')).rejects.toThrow('ECONNREFUSED');
  });

  it('keeps a persistent folder, with the same password, and lets one process have it at a time', async () => {
    const dataDir = join(folder(), 'db');
    const options = { dataDir, persistent: true };
    const first = await startCluster(options);
    folders.push(first.dataDir);
    await expect(startCluster(options)).rejects.toThrow('in use by another process');
    await rows(first.url, 'create table kept as select 42 as n');
    await first.stop();

    const second = await startCluster(options);
    expect(await rows(second.url, 'select n from kept')).toEqual([{ n: 42 }]);
    expect(new URL(second.url).password).toBe(new URL(first.url).password);
    await second.stop();
  });

  it('sweeps what a killed owner left, and only that', async () => {
    const alive = await startCluster();
    const { owner, dataDir, url } = await startElsewhere({});
    expect(await sweepStaleClusters()).not.toContain(dataDir);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    expect(await rows(url, 'select 1 as one')).toEqual([{ one: 1 }]);

    await sweepStaleClusters();
    expect(existsSync(dataDir)).toBe(false);
    await expect(rows(url, 'select 1')).rejects.toThrow('ECONNREFUSED');
    expect(await rows(alive.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await alive.stop();
  });

  it('takes over a persistent folder whose owner was killed', async () => {
    const options = { dataDir: join(folder(), 'db'), persistent: true };
    const { owner, url, dataDir } = await startElsewhere(options);
    folders.push(dataDir);
    await rows(url, 'create table kept as select 1 as n');
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const cluster = await startCluster(options);
    expect(await rows(cluster.url, 'select n from kept')).toEqual([{ n: 1 }]);
    await cluster.stop();
  });

  it('ends with its owner when that is told to end', async () => {
    const { owner, dataDir, url } = await startElsewhere({});
    owner.kill('SIGTERM');
    expect(await once(owner, 'exit')).toEqual([null, 'SIGTERM']);
    expect(existsSync(dataDir)).toBe(false);
    await expect(rows(url, 'select 1')).rejects.toThrow('ECONNREFUSED');
  });

  // Only root needs another user for the server; everybody else has nothing to test here.
  (isRoot ? it : it.skip)('as root, keeps the data elsewhere where the server may not go', async () => {
    const closed = folder();
    mkdirSync(join(closed, 'db'));
    const cluster = await startCluster({ dataDir: join(closed, 'db'), persistent: true, users: ['nobody'] });
    folders.push(cluster.dataDir);
    expect(cluster.dataDir).toMatch(/^\/var\/tmp\/nest-oauth-client-[0-9a-f]{16}$/);
    expect(await rows(cluster.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await cluster.stop();
  });
});
