#!/usr/bin/env node
// `nest-oauth`: keys, re-sealing, and a look at the surroundings. Exit code 0 when all is well, 1 when it is not, 2 for a
// mistake in the call.
import { parseArgs } from 'node:util';
import { doctor } from './doctor.js';
import { generateKey, reportKeys, retireKey } from './keys.js';
import { rekey } from './rekey.js';
import { reasonOf, UsageError } from './settings.js';

const USAGE = `nest-oauth <command> [options]

  keys generate             prints a new random key (32 bytes, base64url)
  keys report               how many stored values each key has sealed
  keys retire <id>          says whether a key may be removed; refused while it is used or current
  rekey                     seals everything anew with the current (first) key; may be interrupted and repeated
  doctor                    looks at database, migrations, keys and LISTEN

Options
  --database-url URL        PostgreSQL (or DATABASE_URL)
  --keys FILE               JSON file: [{ "id": "2026-11", "secret": "…" }, …], the current key first
                            (or OAUTH_KEYS: the same JSON, or "id:secret,id:secret")
  --listen-url URL          direct connection for LISTEN, as in the option listen: { url } (doctor)
  --migrations-table NAME   where TypeORM notes what was run, as Postgres spells it: migrations (doctor)
  --batch-size N            rows in one batch of rekey (200)
  --pause MS                pause between two batches of rekey (0)
  --json                    machine-readable output`;

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      'database-url': { type: 'string' },
      keys: { type: 'string' },
      'listen-url': { type: 'string' },
      'migrations-table': { type: 'string' },
      'batch-size': { type: 'string' },
      pause: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [command = '', ...rest] = positionals;
  if (values.help || command === 'help') {
    console.log(USAGE);
    return 0;
  }
  if (command === 'keys') {
    const [verb, id, ...surplus] = rest;
    // A variable that is set to nothing is no key, and none that may go.
    if (verb === 'retire' && id) {
      // A second id would look as if it had been judged as well.
      if (surplus.length > 0) throw new UsageError('keys retire takes one id and nothing more');
      return retireKey(id, values);
    }
    if (verb === 'generate' || verb === 'report') {
      if (id !== undefined) throw new UsageError(`keys ${verb} takes nothing more`);
      return verb === 'generate' ? generateKey() : reportKeys(values);
    }
    throw new UsageError('keys takes: generate, report, retire <id>');
  }
  // What is left over is not shown: it may be a key.
  if ((command === 'rekey' || command === 'doctor') && rest.length > 0)
    throw new UsageError(`${command} takes nothing more`);
  if (command === 'rekey') return rekey(values);
  if (command === 'doctor') return doctor(values);
  throw new UsageError(command === '' ? 'a command is missing' : `there is no command ${JSON.stringify(command)}`);
}

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    const usage = error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
    console.error(`nest-oauth: ${reasonOf(error)}`);
    if (usage) console.error(`\n${USAGE}`);
    process.exitCode = usage ? 2 : 1;
  },
);
