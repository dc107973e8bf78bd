// Changing the encryption key while everything runs: all sealed values are sealed anew with the current key, in small
// batches. It may be interrupted and repeated at any time; what is done already is passed over.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Sealer, sealedKeyId } from '../crypto/sealing.js';
import { RekeyRepository, SEALED_COLUMNS, type SealedColumn, type SealedRow } from './rekey.repository.js';

/** Values of one key in one column. */
export interface KeyUse {
  /** `table.column` */
  readonly column: string;
  /** `(unreadable)` for what is no sealed value. */
  readonly keyId: string;
  readonly rows: number;
}

/** Whether the keys given are those that values were sealed with. */
export interface KeySample {
  readonly keyId: string;
  /** Values that were tried. */
  readonly tried: number;
  /** Of these, values that this key does not open: it is another key of the same name, or they were changed. */
  readonly closed: number;
}

/** How far {@link Rekeyer.rekey} has come. */
export interface RekeyProgress {
  readonly column: string;
  /** Values looked at so far in this column and pass. */
  readonly seen: number;
  /** Values sealed anew so far, in all columns. */
  readonly resealed: number;
  /** Values that no configured key opens, so far. They stay as they are. */
  readonly failed: number;
}

/** Options of {@link Rekeyer.rekey}. */
export interface RekeyOptions {
  /** Rows of one batch. @defaultValue 200 */
  batchSize?: number;
  /** Pause between two batches, milliseconds: leaves room for the application. @defaultValue 0 */
  pause?: number;
  onProgress?: (progress: RekeyProgress) => void;
  signal?: AbortSignal;
}

/** Passes over the tables: rows that were held, or written with an older key meanwhile, come up again. */
const MAX_PASSES = 5;
const REPORT_BATCH = 5_000;
const SAMPLE = 200;

/** Seals stored secrets anew with the current key, and counts which keys are in use. */
@Injectable()
export class Rekeyer {
  constructor(
    private readonly repository: RekeyRepository,
    private readonly sealer: Sealer,
  ) {}

  /** Seals everything with the current key. @returns what was done; run {@link report} to see what is left */
  async rekey(options: RekeyOptions = {}): Promise<{ resealed: number; failed: number }> {
    let resealed = 0;
    let failed = 0;
    for (let pass = 1, left = Infinity; pass <= MAX_PASSES && left > 0; pass++) {
      [left, failed] = [0, 0];
      for (const column of SEALED_COLUMNS) {
        let seen = 0;
        for await (const rows of this.#batches(column, options.batchSize ?? 200, false)) {
          options.signal?.throwIfAborted();
          const batch = await this.#resealBatch(column, rows);
          resealed += batch.resealed;
          failed += batch.failed;
          left += batch.passedOver;
          seen += rows.length;
          options.onProgress?.({ column: nameOf(column), seen, resealed, failed });
          // Where nothing was due, an earlier run was here: this one catches up with it.
          if (options.pause && batch.due > 0) await sleep(options.pause);
        }
      }
    }
    return { resealed, failed };
  }

  /** How many values each key has sealed, per column. */
  async report(): Promise<KeyUse[]> {
    const uses: KeyUse[] = [];
    for (const column of SEALED_COLUMNS) {
      const counts = new Map<string, number>();
      for await (const rows of this.#batches(column, REPORT_BATCH, true))
        for (const { value } of rows) {
          const keyId = keyIdOfHeader(value) ?? '(unreadable)';
          counts.set(keyId, (counts.get(keyId) ?? 0) + 1);
        }
      for (const [keyId, rows] of counts) uses.push({ column: nameOf(column), keyId, rows });
    }
    return uses;
  }

  /** Tries to open some values of each column with the keys given; those of other keys are left out. */
  async sample(): Promise<KeySample[]> {
    const { keyIds } = this.sealer.keyRing;
    const samples = keyIds.map((keyId) => ({ keyId, tried: 0, closed: 0 }));
    for (const column of SEALED_COLUMNS)
      for (const { value } of await this.repository.batch(column, { after: null, limit: SAMPLE, headerOnly: false })) {
        const sample = samples.find(({ keyId }) => keyId === sealedKeyId(value));
        if (!sample) continue;
        sample.tried += 1;
        await this.sealer.reseal(value).catch(() => (sample.closed += 1));
      }
    return samples.filter(({ tried }) => tried > 0);
  }

  async #resealBatch(
    column: SealedColumn,
    rows: readonly SealedRow[],
  ): Promise<{ due: number; resealed: number; failed: number; passedOver: number }> {
    const due = rows.filter(({ value }) => sealedKeyId(value) !== this.sealer.keyRing.currentKeyId);
    const results = await Promise.all(
      due.map(({ key, value }) =>
        this.sealer.reseal(value).then(
          (sealed) => ({ key, old: value, sealed }),
          () => null,
        ),
      ),
    );
    const sealed = results.filter((row) => row !== null);
    const resealed = sealed.length === 0 ? 0 : await this.repository.replace(column, sealed);
    return {
      due: due.length,
      resealed,
      failed: due.length - sealed.length,
      passedOver: sealed.length - resealed,
    };
  }

  async *#batches(column: SealedColumn, limit: number, headerOnly: boolean): AsyncGenerator<SealedRow[]> {
    for (let after: readonly string[] | null = null; ;) {
      const rows: SealedRow[] = await this.repository.batch(column, { after, limit, headerOnly });
      if (rows.length > 0) yield rows;
      if (rows.length < limit) return;
      after = rows.at(-1)!.key;
    }
  }
}

function nameOf({ table, column }: SealedColumn): string {
  return `${table}.${column}`;
}

function keyIdOfHeader(header: string): string | undefined {
  try {
    const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as { kid?: unknown };
    return typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}
