// Pending logins: random, one-time, bound to one browser and one provider (RFC 9700 §4.7, RFC 7636).
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { s256, sha256 } from '../crypto/digest.js';
import { isToken, randomTokens } from '../crypto/random.js';
import { UnknownKeyError } from '../crypto/key-ring.js';
import { type SealContext, Sealer } from '../crypto/sealing.js';
import { ERROR_CODES, type OAuthErrorCode } from '../errors/error-codes.js';
import { OAuthError } from '../errors/oauth-error.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { OutcomeNotes } from './outcome-notes.service.js';
import { type ConsumedRow, type StateBinding, StateRepository } from './state.repository.js';

/** What a login was begun for. */
export type LoginIntent = 'login' | 'link' | 'step_up';

/** What is asked of the provider, and must hold in its answer. */
export interface LoginDemands {
  readonly intent: LoginIntent;
  readonly scope: readonly string[];
  /** Seconds. */
  readonly maxAge?: number;
  readonly acrValues?: readonly string[];
  /** The key that the tokens will be bound to (RFC 9449), sealed with the rest until the grant exists. */
  readonly dpopKey?: string;
}

/** The random values of one attempt. */
export interface Attempt {
  readonly state: string;
  readonly codeVerifier: string;
  readonly codeChallenge: string;
  readonly nonce: string;
}

/** A pending login after its one use. */
export interface PendingLogin extends LoginDemands {
  readonly stateHash: Buffer;
  readonly codeVerifier: string;
  readonly nonce: string;
  /** Absolute URL as it was stored, to be judged again; empty when it could not be opened. */
  readonly returnTo: string;
  /** The session that was linking, if one was. */
  readonly sessionId: string | null;
  /** When its use was known here, monotonic milliseconds: a moment after what the database calls `consumed_at`. */
  readonly consumedAt: number;
}

/** How long a duplicate callback waits for the first one, and how often it looks. Milliseconds. */
const WAIT_FOR_FIRST = 15_000;
const LOOK_AGAIN = 100;
/** Seconds after which a first one that has left no outcome will not finish any more: its process is gone. */
const LONGEST_LOGIN = 60;

/** Begins, uses and closes pending logins. */
@Injectable()
export class StateService {
  readonly #logger = new Logger('OAuth');

  constructor(
    private readonly states: StateRepository,
    private readonly outcomes: OutcomeNotes,
    private readonly sealer: Sealer,
    private readonly options: ResolvedOptions,
  ) {}

  /** Fresh random values for one attempt: 256 bits each. */
  draw(): Attempt {
    const [state, codeVerifier, nonce] = randomTokens(3) as [string, string, string];
    return { state, codeVerifier, codeChallenge: s256(codeVerifier), nonce };
  }

  /**
   * Remembers a pending login: one INSERT.
   * @param input.browser value of the browser cookie
   * @param input.firstVisit true when that value was drawn just now, so that nothing else can be pending for it
   * @throws {OAuthError} `too_many_requests` when the bound on pending logins is reached
   */
  async remember(
    { state, codeVerifier, nonce }: Attempt,
    input: LoginDemands & {
      provider: string;
      browser: string;
      returnTo: string;
      sessionId?: string;
      firstVisit?: boolean;
    },
  ): Promise<void> {
    const stateHash = sha256(state);
    const { provider, browser, returnTo, sessionId, firstVisit, ...demands } = input;
    const [payload, sealedReturnTo] = await Promise.all([
      this.sealer.seal(payloadContext(stateHash, provider), JSON.stringify({ ...demands, codeVerifier, nonce })),
      this.sealer.seal(returnToContext(stateHash, provider), returnTo),
    ]);
    const remembered = await this.states.insert({
      stateHash,
      browserHash: sha256(browser),
      provider,
      payload,
      returnTo: sealedReturnTo,
      sessionId: sessionId ?? null,
      lifetime: this.options.login.stateLifetime,
      maxPerBrowser: firstVisit ? null : this.options.login.maxPendingPerBrowser,
      maxPending: this.options.login.maxPending,
    });
    if (!remembered) throw new OAuthError('too_many_requests', { provider, retryAfter: 30 });
  }

  /**
   * Uses a pending login up: one UPDATE whose WHERE holds the whole binding. The wrong browser can neither use nor burn it.
   * @returns null when there is none that fits, for whatever reason
   */
  async consume(input: { state: string; browser: string | null; provider: string }): Promise<PendingLogin | null> {
    const binding = bindingOf(input);
    const row = binding && (await this.#consumed(binding));
    if (!row) return null;
    const consumedAt = performance.now();
    const { stateHash } = binding;
    try {
      const [payload, returnTo] = await Promise.all([
        this.sealer.open(payloadContext(stateHash, input.provider), row.payload),
        this.#openReturnTo(stateHash, input.provider, row.return_to),
      ]);
      const remembered = JSON.parse(payload) as LoginDemands & Pick<PendingLogin, 'codeVerifier' | 'nonce'>;
      return { ...remembered, stateHash, returnTo, sessionId: row.session_id, consumedAt };
    } catch (error) {
      // A key that this process does not know is the operator's mistake (or a deployment under way): nobody loses a login by it.
      if (isUnknownKey(error)) await this.states.restore(stateHash, row.payload);
      else await this.fail(stateHash, 'key_unavailable');
      throw error;
    }
  }

  /** A lost answer leaves a row behind that may be used up, and that nobody will finish: its verifier is gone. */
  async #consumed(binding: StateBinding): Promise<ConsumedRow | undefined> {
    try {
      const row = await this.states.consume(binding);
      if (row) this.outcomes.forget(binding.stateHash);
      return row;
    } catch (error) {
      await this.outcomes.note(binding.stateHash, 'database_unavailable');
      throw error;
    }
  }

  /** A landing that does not open was changed by somebody, or is none of ours: the login itself is not at stake. */
  async #openReturnTo(stateHash: Buffer, provider: string, sealed: string): Promise<string> {
    return this.sealer.open(returnToContext(stateHash, provider), sealed).catch((error: unknown) => {
      if (isUnknownKey(error)) throw error;
      this.#logger.warn('a stored returnTo could not be opened; the login goes on to the start page');
      return '';
    });
  }

  /**
   * For a callback that came twice: where the first one went, once it has ended (to be judged again).
   * @throws {OAuthError} the first one's error, or `login_in_progress` when it takes too long; `invalid_state` when there was no first one of this browser
   */
  async outcomeOfFirst(input: { state: string; browser: string | null; provider: string }): Promise<string> {
    const binding = bindingOf(input);
    for (const deadline = performance.now() + WAIT_FOR_FIRST; binding;) {
      const tombstone = await this.states.tombstone(binding);
      if (!tombstone) break;
      if (tombstone.outcome === 'done')
        return this.#openReturnTo(binding.stateHash, input.provider, tombstone.return_to);
      const failure = this.outcomes.pending(binding.stateHash) ?? failureCode(tombstone.outcome);
      if (failure) throw new OAuthError(failure, { provider: input.provider });
      if (performance.now() > deadline || tombstone.age > LONGEST_LOGIN)
        throw new OAuthError('login_in_progress', { provider: input.provider });
      await sleep(LOOK_AGAIN);
    }
    throw new OAuthError('invalid_state', { provider: input.provider });
  }

  /** Notes that a consumed login failed, best effort: the failure itself is what matters to the caller. */
  async fail(stateHash: Buffer, code: OAuthErrorCode): Promise<void> {
    await this.outcomes.note(stateHash, code);
  }

  /** Notes that a consumed login ended without the usual transaction. */
  async done(stateHash: Buffer): Promise<void> {
    await this.states.close(stateHash, 'done');
  }
}

function bindingOf({
  state,
  browser,
  provider,
}: {
  state: string;
  browser: string | null;
  provider: string;
}): StateBinding | undefined {
  // Anything not spelled as we spell it cannot be ours: no need to ask the database.
  if (!isToken(state) || !isToken(browser)) return undefined;
  return { stateHash: sha256(state), browserHash: sha256(browser), provider };
}

function isUnknownKey(error: unknown): boolean {
  return error instanceof OAuthError && error.cause instanceof UnknownKeyError;
}

/** Null while it is not decided. */
function failureCode(outcome: string): OAuthErrorCode | null {
  if (outcome === 'pending') return null;
  const code = outcome.replace(/^failed:/, '');
  return code in ERROR_CODES ? (code as OAuthErrorCode) : 'server_error';
}

function payloadContext(stateHash: Buffer, provider: string): SealContext {
  return ['oauth_states', 'payload', stateHash.toString('hex'), provider];
}

function returnToContext(stateHash: Buffer, provider: string): SealContext {
  return ['oauth_states', 'return_to', stateHash.toString('hex'), provider];
}
