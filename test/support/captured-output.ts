// Everything that a process says while it is captured: stdout, stderr, the console, Nest's logger, warnings. Tests plant
// canary strings in secrets and then look for them here.
import { ConsoleLogger, Logger, type LoggerService } from '@nestjs/common';
import { inspect } from 'node:util';

type Level = 'log' | 'error' | 'warn' | 'debug' | 'verbose' | 'fatal';
const LEVELS: readonly Level[] = ['log', 'error', 'warn', 'debug', 'verbose', 'fatal'];
const CONSOLE = ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir', 'table'] as const;

/** See {@link captureOutput}. */
export interface CapturedOutput extends Disposable {
  /** What was said, in order. Values are written out to any depth, hidden properties and `cause` included. */
  readonly lines: readonly { from: string; text: string }[];
  /** All of it as one text. */
  readonly text: string;
  /** Writes to this capture at every level: for `app.useLogger(...)`, or `NestFactory.create(…, { logger })`. */
  readonly logger: LoggerService;
  /** Those of the given strings that were said, plain or encoded (base64, base64url, hex, percent, JSON). */
  find(canaries: readonly string[]): string[];
  clear(): void;
  /** Gives everything back. */
  restore(): void;
}

/**
 * Begins capturing. Nest's static logger is replaced, too, so an application needs no change.
 *
 * @param options.passThrough Let it appear as usual as well; by default it is only captured.
 */
export function captureOutput({ passThrough = false } = {}): CapturedOutput {
  const lines: { from: string; text: string }[] = [];
  const say = (from: string, values: readonly unknown[]) => {
    lines.push({ from, text: values.map((value) => (typeof value === 'string' ? value : written(value))).join(' ') });
  };
  const undo = [
    ...(['stdout', 'stderr'] as const).map((name) => {
      const stream = process[name];
      const original = stream.write;
      stream.write = function write(this: typeof stream, chunk: string | Uint8Array, ...rest: unknown[]): boolean {
        say(name, [typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8')]);
        if (passThrough) return Reflect.apply(original, stream, [chunk, ...rest]) as boolean;
        for (const callback of rest) if (typeof callback === 'function') queueMicrotask(() => void callback());
        return true;
      };
      return () => void (stream.write = original);
    }),
    ...CONSOLE.map((name) => {
      const original = console[name];
      console[name] = (...values: unknown[]) => {
        say(`console.${name}`, values);
        if (passThrough) Reflect.apply(original, console, values);
      };
      return () => void (console[name] = original);
    }),
  ];
  const warned = (warning: Error) => say('warning', [warning]);
  process.on('warning', warned);

  const logger = Object.fromEntries(
    LEVELS.map((level) => [level, (...values: unknown[]) => say(`logger.${level}`, values)]),
  ) as Record<Level, (...values: unknown[]) => void> satisfies LoggerService;
  Logger.overrideLogger(logger);

  const captured: CapturedOutput = {
    lines,
    logger,
    get text() {
      return lines.map(({ from, text }) => `[${from}] ${text}`).join('\n');
    },
    find(canaries) {
      const { text } = captured;
      return canaries.filter((canary) => spellingsOf(canary).some((spelling) => text.includes(spelling)));
    },
    clear: () => void (lines.length = 0),
    restore() {
      for (const step of undo.splice(0)) step();
      process.off('warning', warned);
      Logger.overrideLogger(new ConsoleLogger());
    },
    [Symbol.dispose]: () => captured.restore(),
  };
  return captured;
}

/** How a secret might appear: as it is, and in the encodings in use. */
export function spellingsOf(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  // Base64 of a text inside a longer one depends on where it begins: the part that does not is looked for.
  const shifted = [0, 1, 2].flatMap((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift, 120), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const inner = encoded.slice(shift === 0 ? 0 : shift + 1, -2);
    return inner.length < 8 ? [] : [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
  return [
    ...new Set([
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('hex'),
      ...shifted,
    ]),
  ];
}

/** As the console shows it, and as a logger of JSON would write it. */
function written(value: unknown): string {
  const options = {
    depth: Infinity,
    showHidden: true,
    maxArrayLength: null,
    maxStringLength: null,
    breakLength: Infinity,
  };
  const shown = inspect(value, options);
  try {
    return `${shown} ${JSON.stringify(value)}`;
  } catch {
    // Circular values have no JSON.
    return shown;
  }
}
