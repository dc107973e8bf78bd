// Rows out: a table for people while it runs, and JSON for machines.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { placement } from './cores.mjs';
import { generator } from './load.mjs';
import { tuning } from './postgres.mjs';

/** Prints rows as aligned columns; columns that are empty everywhere are left out. */
export function table(rows, columns) {
  const shown = columns.filter((column) => rows.some((row) => row[column] !== null && row[column] !== undefined));
  const cells = [shown, ...rows.map((row) => shown.map((column) => row[column] ?? '–').map(String))];
  const widths = shown.map((_, at) => Math.max(...cells.map((line) => line[at].length)));
  return cells
    .map((line) =>
      line
        .map((cell, at) => cell.padEnd(widths[at]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const version = (name, base) => {
  try {
    return JSON.parse(readFileSync(new URL(`../${base}node_modules/${name}/package.json`, import.meta.url), 'utf8'))
      .version;
  } catch {
    return undefined;
  }
};

/** Machine and versions: without them the numbers mean nothing. */
export function environment(postgresVersion) {
  const peers = Object.keys(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).dependencies);
  const own = [
    '@nestjs/core',
    '@nestjs/platform-express',
    '@nestjs/platform-fastify',
    'express',
    'fastify',
    'typeorm',
    'openid-client',
    'oidc-provider',
  ];
  let commit;
  try {
    commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    commit = undefined;
  }
  return {
    date: new Date().toISOString(),
    commit,
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    postgres: postgresVersion,
    generator,
    placement,
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`,
    tuning,
    versions: Object.fromEntries([
      ...own.map((name) => [name, version(name, '../')]),
      ...peers.map((name) => [name, version(name, '')]),
    ]),
  };
}

/** Members that a reader finds in every row; null where a row has no such thing. */
const members = [
  ...['bench', 'variant', 'platform', 'sessions', 'concurrency', 'rps', 'spread', 'ofBare', 'ofEmptyGuard'],
  ...['ofSelectGuard', 'p50Ms', 'p99Ms', 'nodeCpuMsPerRequest', 'pgCpuMsPerRequest', 'rssMb'],
];
const ofLogin = ['loginsPerSecond', 'ofPassport', 'ofDirect', 'roundTrips'];

const complete = (row) => ({
  ...Object.fromEntries([...members, ...(row.bench === 'login' ? ofLogin : [])].map((name) => [name, null])),
  ...row,
});

/** Writes the rows, an array of flat objects, where `--json` says. */
export const writeRows = (file, rows) => writeFileSync(file, `${JSON.stringify(rows.map(complete), null, 2)}\n`);
