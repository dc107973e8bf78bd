// What browsers say and do of themselves when they request: fetch metadata, `Origin`, `Referer`, redirects.
// @see https://w3c.github.io/webappsec-fetch-metadata/ and https://fetch.spec.whatwg.org/#append-a-request-origin-header
import type { CookieContext } from './cookie-jar.js';
import { isTrustworthy, relationOf, type Relation } from './site.js';

/** One request on the way. */
export interface Step {
  url: URL;
  method: string;
  body: string | undefined;
  headers: Record<string, string>;
}

/** A whole way: a first request, and under which rules it and its redirects go. */
export interface Plan extends Step {
  from: URL | null;
  mode: 'navigate' | 'cors' | 'no-cors';
  destination: string;
  topLevel: boolean;
  credentials: 'omit' | 'same-origin' | 'include';
  follow: boolean;
}

const DEFAULT_POLICY = 'strict-origin-when-cross-origin';

/**
 * The headers a browser adds by itself; those that do not apply are empty.
 *
 * @param visited All addresses of this way so far, the present one last.
 * @param policy Referrer policy of the page it comes from.
 */
export function browserHeaders(
  plan: Plan,
  step: Step,
  visited: readonly URL[],
  policy = DEFAULT_POLICY,
): Record<string, string> {
  const page = plan.from;
  return {
    'user-agent': 'Mozilla/5.0 (test) UserAgent/1.0',
    accept: plan.mode === 'navigate' ? 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8' : '*/*',
    'accept-language': 'en',
    ...(isTrustworthy(step.url) && {
      'sec-fetch-site': page ? weakest(page, visited) : 'none',
      'sec-fetch-mode': plan.mode,
      'sec-fetch-dest': plan.destination,
      ...(plan.topLevel && { 'sec-fetch-user': '?1' }),
    }),
    ...(page && { referer: refererOf(page, step.url, policy), origin: originOf(plan, step, visited, policy) }),
  };
}

/** Cookies go by the page a navigation came from, and not by the sites redirects passed through. */
export function contextOf(plan: Plan, step: Step): CookieContext & { sameOrigin: boolean } {
  const relation: Relation = plan.from ? relationOf(plan.from, step.url) : 'same-origin';
  return {
    sameOrigin: relation === 'same-origin',
    sameSite: relation !== 'cross-site',
    topLevel: plan.topLevel,
    method: step.method,
  };
}

/** The relation that `Sec-Fetch-Site` states: the worst one on the whole way. */
function weakest(from: URL, visited: readonly URL[]): Relation {
  const relations = visited.map((url) => relationOf(from, url));
  return relations.find((one) => one === 'cross-site') ?? relations.find((one) => one === 'same-site') ?? 'same-origin';
}

function refererOf(page: URL, to: URL, policy: string): string {
  const sameOrigin = page.origin === to.origin;
  if (policy === 'no-referrer' || (policy === 'same-origin' && !sameOrigin)) return '';
  if (page.protocol === 'https:' && to.protocol === 'http:') return '';
  return sameOrigin && !['origin', 'strict-origin'].includes(policy) ? pageKey(page) : `${page.origin}/`;
}

/** Unsafe methods, and scripts calling another origin, say who they are; `null` when the page's policy or a redirect hides it. */
function originOf({ from, mode }: Plan, { url, method }: Step, visited: readonly URL[], policy: string): string {
  if (!from) return '';
  const safe = method === 'GET' || method === 'HEAD';
  const crossOrigin = from.origin !== url.origin;
  if (safe && !(mode === 'cors' && crossOrigin)) return '';
  // A redirect from one foreign origin to another taints it.
  const tainted = visited.some(
    (at, index) => index > 0 && visited[index - 1]?.origin !== at.origin && visited[index - 1]?.origin !== from.origin,
  );
  if (tainted) return 'null';
  if (mode === 'cors') return from.origin;
  if (policy === 'no-referrer' || (policy === 'same-origin' && crossOrigin)) return 'null';
  return from.protocol === 'https:' && url.protocol === 'http:' ? 'null' : from.origin;
}

/** 303 turns everything but HEAD into GET, 301 and 302 only POST; 307 and 308 repeat the request. */
export function nextStep({ url, method, body, headers }: Step, status: number, location: string): Step {
  const next = new URL(location, url);
  if (!next.hash) next.hash = url.hash;
  const toGet = (status === 303 && method !== 'HEAD') || (method === 'POST' && (status === 301 || status === 302));
  if (!toGet) return { url: next, method, body, headers };
  const kept = Object.entries(headers).filter(([name]) => !/^content-/i.test(name));
  return { url: next, method: 'GET', body: undefined, headers: Object.fromEntries(kept) };
}

/** A page, without its fragment. */
export function pageKey({ origin, pathname, search }: URL): string {
  return origin + pathname + search;
}
