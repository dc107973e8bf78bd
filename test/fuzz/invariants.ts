// What holds for every answer, whatever was asked.
import { inspect } from 'node:util';
import { ALLOWED_ORIGIN, type Target } from './target.js';
import { headerOf, headersOf, type WireAnswer } from './wire.js';

/** What a case allows besides. */
export interface Allowances {
  /** The provider is at fault, or says so: 502 and 503 are right. */
  providerAtFault?: boolean;
}

const PROTOTYPES: readonly object[] = [Object.prototype, Array.prototype, Function.prototype, String.prototype];
const UNTOUCHED = PROTOTYPES.map(membersOf);

/** Failures of the process that nobody was there to catch. */
const uncaught: unknown[] = [];
for (const event of ['unhandledRejection', 'uncaughtException'])
  process.on(event, (failure: unknown) => {
    console.error(event, failure);
    process.exitCode = 1;
    uncaught.push(failure);
  });

/** @throws {Error} naming the first thing that does not hold */
export function judge(at: Target, answer: WireAnswer | null, { providerAtFault = false }: Allowances = {}): void {
  judgeProcess();
  if (!answer) return;
  const { status } = answer;
  at.statuses.set(status, (at.statuses.get(status) ?? 0) + 1);
  const fine = (status >= 200 && status < 500) || (providerAtFault && (status === 502 || status === 503));
  if (!fine) throw new Error(`status ${status}: ${answer.raw}\n${at.log.join('\n')}`);
  judgeLocation(at, answer);
  judgeCookies(answer);
  judgeSecrets(at, answer);
}

/** The process itself. */
export function judgeProcess(): void {
  const [failure] = uncaught.splice(0);
  if (failure !== undefined)
    throw new Error(`nobody caught ${failure instanceof Error ? failure.stack : inspect(failure)}`);
  PROTOTYPES.forEach((prototype, index) => {
    const [now, before] = [membersOf(prototype), UNTOUCHED[index]!];
    if (now.length !== before.length || now.some((member, place) => member !== before[place]))
      throw new Error('a prototype was changed');
  });
}

function membersOf(prototype: object): unknown[] {
  return Reflect.ownKeys(prototype).flatMap((key) => [key, Object.getOwnPropertyDescriptor(prototype, key)?.value]);
}

/** A redirect leads to ourselves, to an origin that is allowed, or to the provider's own pages. */
function judgeLocation(at: Target, answer: WireAnswer): void {
  const found = headersOf(answer, 'location');
  if (found.length > 1) throw new Error(`two locations: ${answer.raw}`);
  const [location] = found;
  if (location === undefined) return;
  const url = new URL(location, at.origin);
  if (url.origin === at.origin) {
    if (url.pathname.startsWith('//') || /^[/\\]{2}/.test(location)) throw new Error(`location ${location}`);
  } else if (url.origin === at.provider.url) {
    if (!['/authorize', '/end_session'].some((path) => url.pathname === path)) throw new Error(`location ${location}`);
  } else if (url.origin !== ALLOWED_ORIGIN) throw new Error(`location ${location}`);
}

function judgeCookies(answer: WireAnswer): void {
  for (const cookie of headersOf(answer, 'set-cookie'))
    if (!/^oauth_(?:session|browser)=[\w-]*; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/.test(cookie))
      throw new Error(`cookie ${cookie}`);
  if (headersOf(answer, 'set-cookie').length > 0 && headerOf(answer, 'cache-control') !== 'no-store')
    throw new Error(`a cookie that caches may keep: ${answer.raw}`);
}

function judgeSecrets(at: Target, answer: WireAnswer): void {
  // The one place where an ID token belongs (OIDC RP-Initiated Logout §2).
  const seen = answer.raw.replace(/id_token_hint=[\w.-]+/g, '');
  const said = at.log.join('\n');
  for (const secret of at.secrets()) {
    if (seen.includes(secret)) throw new Error(`a secret is in the answer: ${answer.raw}`);
    if (said.includes(secret)) throw new Error(`a secret is in the log: ${said}`);
  }
}
