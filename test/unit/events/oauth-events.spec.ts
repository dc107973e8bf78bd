// Events reach whoever listens, and the log, whatever logger the application has.
import { setImmediate as turn } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { Logger, type LoggerService } from '@nestjs/common';
import { OAuthEvents } from '../../../src/events/oauth-events.service.js';

/** What reached the logger of an application. */
function listening(): { lines: [level: string, line: string][]; logger: LoggerService } {
  const lines: [string, string][] = [];
  const at = (level: string) => (line: unknown) => void lines.push([level, String(line)]);
  return { lines, logger: { log: at('log'), error: at('error'), warn: at('warn'), debug: at('debug') } };
}

describe('events', () => {
  afterEach(() => {
    Logger.overrideLogger(['log', 'error', 'warn', 'debug', 'verbose', 'fatal']);
    jest.restoreAllMocks();
  });

  it('reach a logger of the application that is not one of Nest, though no level was left on before', () => {
    const { lines, logger } = listening();
    Logger.overrideLogger([]);
    Logger.overrideLogger(logger);
    const events = new OAuthEvents();
    events.emit('alarm', { code: 'key_unavailable', message: 'a key is missing' });
    events.emit('loginFailed', { provider: 'github', code: 'invalid_state', reason: 'unknown' });
    events.emit('revoked', { provider: 'github' });
    expect(lines).toEqual([
      ['error', 'alarm {"code":"key_unavailable","message":"a key is missing"}'],
      ['warn', 'loginFailed {"provider":"github","code":"invalid_state","reason":"unknown"}'],
      ['debug', 'revoked {"provider":"github"}'],
    ]);
  });

  it('leave levels to the logger: what is switched off there is not written', () => {
    const written = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    Logger.overrideLogger(['error']);
    new OAuthEvents().emit('revoked', { provider: 'github' });
    expect(written).not.toHaveBeenCalled();
  });

  it('reach every listener in order until it ends its listening, past those that throw', () => {
    const { lines, logger } = listening();
    Logger.overrideLogger(logger);
    const events = new OAuthEvents();
    const told: string[] = [];
    const end = events.on('revoked', ({ provider }) => told.push(`first ${provider}`));
    events.on('revoked', () => {
      throw new Error('a fault of the application');
    });
    events.on('revoked', ({ provider }) => told.push(`last ${provider}`));
    events.emit('revoked', { provider: 'github' });
    end();
    events.emit('revoked', { provider: 'google' });
    expect(told).toEqual(['first github', 'last github', 'last google']);
    expect(lines.filter(([level]) => level === 'error')).toEqual([
      ['error', 'a listener of "revoked" failed: a fault of the application'],
      ['error', 'a listener of "revoked" failed: a fault of the application'],
    ]);
  });

  it.each<[string, () => Promise<void>]>([
    ['an async function', async () => Promise.reject(new Error('a fault of the application'))],
    [
      'one that fails later',
      async () => {
        await turn();
        throw new Error('a fault of the application');
      },
    ],
    [
      'a thenable of another library',
      () =>
        ({
          then: (_: unknown, rejected: (error: Error) => void) => rejected(new Error('a fault of the application')),
        }) as unknown as Promise<void>,
    ],
    [
      'a thenable that throws',
      () =>
        ({
          then: () => {
            throw new Error('a fault of the application');
          },
        }) as unknown as Promise<void>,
    ],
  ])('survive a listener that rejects (%s), and wait for none', async (_, listener) => {
    const { lines, logger } = listening();
    Logger.overrideLogger(logger);
    const unheard: unknown[] = [];
    const hear = (error: unknown) => void unheard.push(error);
    process.on('unhandledRejection', hear);
    try {
      const events = new OAuthEvents();
      const told: string[] = [];
      events.on('revoked', listener);
      events.on('revoked', ({ provider }) => void told.push(provider));
      expect(events.emit('revoked', { provider: 'github' })).toBeUndefined();
      expect(told).toEqual(['github']);
      for (let turns = 0; turns < 5; turns++) await turn();
      expect(unheard).toEqual([]);
      expect(lines.filter(([level]) => level === 'error')).toEqual([
        ['error', 'a listener of "revoked" failed: a fault of the application'],
      ]);
    } finally {
      process.off('unhandledRejection', hear);
    }
  });
});
