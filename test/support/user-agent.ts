// A small browser for tests: cookies, redirects, forms, fetch metadata, `Origin` and `Referer` as real ones send them.
import type { AgentResponse, FormFields, Hop, Navigation, ScriptCall } from './agent-messages.js';
import { CookieJar, type Cookie, type CookieContext } from './cookie-jar.js';
import { formsIn } from './html-form.js';
import { send, type RawRequest } from './http-send.js';
import { browserHeaders, contextOf, nextStep, pageKey, type Plan, type Step } from './navigation-rules.js';

export type { AgentResponse, FormFields, Hop, Navigation, ScriptCall };

/** See {@link UserAgent}. */
export interface UserAgentOptions {
  /**
   * Where origins are really served, as a proxy that ends TLS would: `{ 'https://app.example': 'http://127.0.0.1:3000' }`.
   * Cookies, `Host` and all judgements go by the origin on the left; `X-Forwarded-Proto` and `-Host` are added.
   */
  origins?: Record<string, string>;
  /** The clock of the cookie jar, in milliseconds. */
  now?: () => number;
}

const MAX_REDIRECTS = 15;
const FORM = 'application/x-www-form-urlencoded';

/** One browser profile: its cookies and what it has visited. */
export class UserAgent {
  /** The cookie jar, to look into and to tamper with. */
  readonly jar: CookieJar;
  /** Every request of this browser with its answer, oldest first. */
  readonly history: Hop[] = [];
  /** The page shown last, after a navigation of the window. */
  page: AgentResponse | undefined;

  private readonly origins: Map<string, string>;
  private readonly policies = new Map<string, string>();

  constructor({ origins = {}, now }: UserAgentOptions = {}) {
    this.jar = new CookieJar(now);
    this.origins = new Map(Object.entries(origins).map(([origin, at]) => [new URL(origin).origin, at]));
  }

  /** All live cookies. */
  get cookies(): Cookie[] {
    return this.jar.all();
  }

  /** The value of the one cookie with this name, if there is one. */
  cookie(name: string): string | undefined {
    return this.cookies.find((cookie) => cookie.name === name)?.value;
  }

  /** Opens a page, as by a link, a typed address or a form, and follows its redirects. */
  async navigate(url: string, navigation: Navigation = {}): Promise<AgentResponse> {
    const { form, headers = {}, destination = 'document' } = navigation;
    const target = new URL(url);
    const method = (navigation.method ?? (form ? 'POST' : 'GET')).toUpperCase();
    const fields = form && new URLSearchParams(pairsOf(form)).toString();
    if (fields !== undefined && method === 'GET') target.search = fields;
    const typed = navigation.from === undefined && method === 'GET';
    const from = navigation.from === null || typed ? null : new URL(navigation.from ?? `${target.origin}/`);
    const body = method === 'GET' ? undefined : fields;
    const response = await this.run({
      ...{ url: target, method, body, from, destination },
      headers: body === undefined ? headers : { 'content-type': FORM, ...headers },
      mode: destination === 'image' ? 'no-cors' : 'navigate',
      topLevel: destination === 'document',
      credentials: 'include',
      follow: navigation.followRedirects ?? true,
    });
    if (destination === 'document') this.page = response;
    return response;
  }

  /** Calls as a script of a page does. */
  fetch(url: string, call: ScriptCall = {}): Promise<AgentResponse> {
    const target = new URL(url);
    const { body, headers = {} } = call;
    const type = body instanceof URLSearchParams ? FORM : 'text/plain;charset=UTF-8';
    return this.run({
      ...{ url: target, method: (call.method ?? 'GET').toUpperCase(), body: body?.toString() },
      headers: body === undefined ? headers : { 'content-type': type, ...headers },
      from: new URL(call.from ?? `${target.origin}/`),
      ...{ mode: 'cors', destination: 'empty', topLevel: false },
      credentials: call.credentials ?? 'same-origin',
      follow: call.followRedirects ?? true,
    });
  }

  /**
   * Sends a form of a page.
   *
   * @param page By default the page shown last.
   * @param options.form Which form: its index or id, by default the first.
   * @param options.fields Values to set; a name the form does not have is added.
   * @param options.button Text or name of the button to press, whose name and value are sent along.
   */
  submitForm(
    page: AgentResponse | undefined = this.page,
    options: {
      form?: number | string;
      fields?: Record<string, string>;
      button?: string;
      followRedirects?: boolean;
    } = {},
  ): Promise<AgentResponse> {
    const { form: which = 0, fields = {}, button, followRedirects } = options;
    const form = typeof which === 'number' ? page?.forms[which] : page?.forms.find(({ id }) => id === which);
    if (!page || !form) throw new Error(`No form ${which} in ${page?.url ?? 'no page'}: ${page?.status} ${page?.body}`);
    const pressed =
      button === undefined ? undefined : form.buttons.find(({ text, name }) => text === button || name === button);
    if (button !== undefined && !pressed) throw new Error(`No button ${button} in form ${which} of ${page.url}.`);

    const kept = form.fields.map(([name, value]) => [name, fields[name] ?? value] as const);
    const added = Object.entries(fields).filter(([name]) => !form.fields.some(([known]) => known === name));
    const sent = [...kept, ...added, ...(pressed?.name ? [[pressed.name, pressed.value] as const] : [])];
    return this.navigate(form.action, {
      ...{ method: form.method, form: sent, from: page.url },
      ...(followRedirects !== undefined && { followRedirects }),
    });
  }

  /**
   * Sends exactly this and nothing else, but for this browser's cookies unless `headers.cookie` is given (an empty one
   * sends none). Redirects are not followed unless asked, and `path` goes out unnormalised.
   */
  async request(
    raw: Omit<RawRequest, 'url' | 'headers'> & {
      url: string;
      headers?: Record<string, string>;
      followRedirects?: boolean;
      /** False leaves the jar as it was. */
      keepCookies?: boolean;
    },
  ): Promise<AgentResponse> {
    const url = new URL(raw.url);
    const method = (raw.method ?? 'GET').toUpperCase();
    const context: CookieContext = { sameSite: true, topLevel: true, method };
    const headers = withoutEmpty({ cookie: this.jar.header(url, context) ?? '', ...raw.headers });
    const step = { url, method, headers, body: raw.body, path: raw.path };
    const hop = await this.exchange(step, raw.keepCookies === false ? null : context);
    const next = raw.followRedirects ? hop.headers.get('location') : null;
    return next ? this.navigate(new URL(next, url).href) : respond([hop]);
  }

  private async run(plan: Plan): Promise<AgentResponse> {
    const hops: Hop[] = [];
    const visited: URL[] = [];
    for (let step: Step = plan; ;) {
      visited.push(step.url);
      const context = contextOf(plan, step);
      const withCookies = plan.credentials === 'include' || (plan.credentials === 'same-origin' && context.sameOrigin);
      const cookie = withCookies ? (this.jar.header(step.url, context) ?? '') : '';
      const policy = plan.from ? this.policies.get(pageKey(plan.from)) : undefined;
      const browser = { ...browserHeaders(plan, step, visited, policy), cookie };
      const headers = withoutEmpty({ ...browser, ...step.headers });
      const hop = await this.exchange({ ...step, headers }, withCookies ? context : null);
      hops.push(hop);
      const location = hop.headers.get('location');
      if (!plan.follow || ![301, 302, 303, 307, 308].includes(hop.status) || !location) return respond(hops);
      if (hops.length > MAX_REDIRECTS) throw new Error(`More than ${MAX_REDIRECTS} redirects from ${plan.url.href}`);
      step = nextStep(step, hop.status, location);
    }
  }

  private async exchange(step: Step & { path?: string | undefined }, context: CookieContext | null): Promise<Hop> {
    const served = this.origins.get(step.url.origin);
    const forwarded = { 'x-forwarded-proto': step.url.protocol.slice(0, -1), 'x-forwarded-host': step.url.host };
    const answer = await send({
      ...{ url: served ? new URL(step.url.pathname + step.url.search, served) : step.url, method: step.method },
      headers: { host: step.url.host, ...(served && forwarded), ...step.headers },
      ...{ body: step.body, path: step.path },
    });
    const setCookies = answer.headers.getSetCookie();
    const refusedCookies = setCookies.flatMap((header) => {
      const reason = context ? this.jar.set(header, step.url, context) : 'cookies are not kept here';
      return reason ? [{ header, reason }] : [];
    });
    const policy = answer.headers.get('referrer-policy')?.split(',').at(-1)?.trim();
    if (policy) this.policies.set(pageKey(step.url), policy);
    else this.policies.delete(pageKey(step.url));
    const { method, headers } = step;
    const hop: Hop = { method, url: step.url.href, requestHeaders: headers, setCookies, refusedCookies, ...answer };
    this.history.push(hop);
    return hop;
  }
}

function respond(hops: readonly Hop[]): AgentResponse {
  const { url, status, headers, setCookies, body } = hops.at(-1) as Hop;
  return {
    ...{ url, status, headers, setCookies, body, hops },
    json: <T>() => JSON.parse(body) as T,
    get forms() {
      return formsIn(body, url);
    },
  };
}

function pairsOf(fields: FormFields): [string, string][] {
  return Array.isArray(fields) ? fields.map(([name, value]) => [name, value]) : Object.entries(fields);
}

/** Lower-case names, the last of a name; a header set to nothing is not sent. */
function withoutEmpty(headers: Record<string, string>): Record<string, string> {
  const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  return Object.fromEntries([...new Map(lower)].filter(([, value]) => value !== ''));
}
