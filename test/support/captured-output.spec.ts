import { Logger } from '@nestjs/common';
import { describe, expect, it } from '@jest/globals';
import { captureOutput } from './captured-output.js';
import { createTestDatabase } from './database.js';
import { dumpDatabase, findInDatabase } from './dump.js';

const canary = 'canary-3f9a/?&é-secret';

describe('captureOutput', () => {
  it.each([
    ['stdout', () => process.stdout.write(`x ${canary}`)],
    ['stderr', () => process.stderr.write(Buffer.from(canary))],
    ['the console', () => console.debug({ deep: { er: { still: { there: { yes: canary } } } } })],
    ['a logger', () => new Logger('Anybody').verbose(canary)],
    ['a cause', () => console.error(new Error('outer', { cause: new Error(canary) }))],
    ['a URL', () => console.log(`https://x/?token=${encodeURIComponent(canary)}`)],
    ['base64 within something longer', () => console.log(Buffer.from(`user:${canary}:x`).toString('base64'))],
    ['base64url', () => console.log(Buffer.from(`{"t":"${canary}"}`).toString('base64url'))],
    ['hex', () => console.log(Buffer.from(canary).toString('hex'))],
  ])('hears a secret on %s', (_where, say) => {
    using output = captureOutput();
    say();
    expect(output.find([canary, 'another'])).toEqual([canary]);
    output.clear();
    expect(output.find([canary])).toEqual([]);
  });

  it('gives everything back', () => {
    const before = [process.stdout.write, process.stderr.write, console.log];
    captureOutput().restore();
    expect([process.stdout.write, process.stderr.write, console.log]).toEqual(before);
  });
});

describe('dumpDatabase', () => {
  it('shows every column of every table, binary ones in each usual form', async () => {
    await using database = await createTestDatabase({ from: 'empty' });
    await database.query(
      'create schema "Other"; create table "Other"."Odd" (id int, doc jsonb, raw bytea, list text[])',
    );
    await database.query('insert into "Other"."Odd" values (7, $1, $2, $3)', [
      { a: 1 },
      Buffer.from(canary),
      ['p', 'q'],
    ]);
    const dump = await dumpDatabase(database);
    expect(dump).toContain('"Other"."Odd"[0].doc = {"a": 1}');
    expect(dump).toContain('list = {p,q}');
    expect(dump).toContain(Buffer.from(canary).toString('hex'));
    expect(dump).toContain(Buffer.from(canary).toString('base64'));
    expect(dump).toContain('canary-3f9a');
    expect(await findInDatabase(database, [canary, 'another'])).toEqual([canary]);
  });
});
