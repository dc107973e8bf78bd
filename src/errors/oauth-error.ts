// The one error class. Its message is public; what really happened is in `cause` and never leaves the process.
import { ERROR_CODES, type OAuthErrorCode } from './error-codes.js';

/** What an {@link OAuthError} may carry besides its code. Everything here is safe to show to the person at the browser. */
export interface OAuthErrorEvidence {
  /** What really happened, for the log only. */
  cause?: unknown;
  /** Replaces the public message of the code, for instance the text of {@link LoginRefusedError}. */
  message?: string;
  /** The provider concerned. */
  provider?: string;
  /** Where the person can log in or connect again: an absolute URL of ours. */
  loginUrl?: string;
  /** Seconds after which trying again makes sense; becomes `Retry-After`. */
  retryAfter?: number;
  /** Further response headers, e.g. `WWW-Authenticate` or `Allow`. */
  headers?: Readonly<Record<string, string>>;
  /** True when the session cookie that came with the request is worthless and should be cleared. */
  clearSession?: boolean;
  /** Names the failure in the log and on the page, where it was logged already. */
  correlationId?: string;
}

/**
 * Every failure of this package. Recognise it by `error instanceof OAuthError` and tell them apart by `error.code`.
 *
 * `statusCode` and `expose` follow the convention of the `http-errors` family, so that an exception filter which
 * delegates to Nest's own still answers with the right status.
 */
export class OAuthError extends Error {
  /** The stable code, see {@link ERROR_CODES}. */
  readonly code: OAuthErrorCode;
  /** HTTP status of the answer. */
  readonly statusCode: number;
  /** The message may be shown: it is written by us and holds no secret. */
  readonly expose = true;
  /** The provider concerned, if any. */
  readonly provider?: string;
  /** Absolute URL that starts the login (or step-up) which would mend this, if one would. */
  readonly loginUrl?: string;
  /** Seconds to wait before trying again. */
  readonly retryAfter?: number;
  /** Further response headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** The presented session cookie is worthless. */
  readonly clearSession: boolean;
  /** The failure's name in the log, if it is there already. */
  readonly correlationId?: string;

  constructor(code: OAuthErrorCode, evidence: OAuthErrorEvidence = {}) {
    super(
      evidence.message ?? ERROR_CODES[code].message,
      evidence.cause === undefined ? undefined : { cause: evidence.cause },
    );
    this.name = new.target.name;
    this.code = code;
    this.statusCode = ERROR_CODES[code].status;
    this.headers = evidence.headers ?? {};
    this.clearSession = evidence.clearSession ?? false;
    if (evidence.provider !== undefined) this.provider = evidence.provider;
    if (evidence.loginUrl !== undefined) this.loginUrl = evidence.loginUrl;
    if (evidence.correlationId !== undefined) this.correlationId = evidence.correlationId;
    const retryAfter = evidence.retryAfter ?? (this.statusCode === 503 ? 5 : undefined);
    if (retryAfter !== undefined) this.retryAfter = retryAfter;
    // The cause may quote what a provider sent: it must not travel with JSON.stringify(error).
    Object.defineProperty(this, 'cause', {
      value: evidence.cause,
      enumerable: false,
      configurable: true,
      writable: true,
    });
  }

  /** The status under the name most loggers look for. */
  get status(): number {
    return this.statusCode;
  }

  /** For `code === 'reauth_required'`: the URL that reconnects the provider. */
  get reconnectUrl(): string | undefined {
    return this.loginUrl;
  }

  /** What GraphQL servers copy into `extensions`. */
  get extensions(): { code: string; status: number; loginUrl?: string } {
    return { code: this.code, status: this.statusCode, ...(this.loginUrl ? { loginUrl: this.loginUrl } : {}) };
  }

  /** Code, status and public message; never the cause. */
  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      status: this.statusCode,
      message: this.message,
      ...(this.loginUrl ? { loginUrl: this.loginUrl } : {}),
    };
  }
}

/**
 * Thrown by `onLogin` to refuse a person. The message is shown to that person as it is (escaped), so write it for them.
 *
 * @example throw new LoginRefusedError('Only members of example.com may log in.');
 */
export class LoginRefusedError extends OAuthError {
  constructor(message: string) {
    super('login_refused', { message });
  }
}

/** Every problem found in the options at boot, all at once. */
export class OAuthConfigError extends OAuthError {
  /** One line a problem: the option's path, what was given, and what to write instead. Secrets are never quoted. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('configuration_invalid', {
      message: `nest-oauth-client: ${problems.length} problem${problems.length === 1 ? '' : 's'} in the options of OAuthModule:\n${problems
        .map((problem) => `  - ${problem}`)
        .join('\n')}`,
    });
    this.problems = problems;
  }
}
