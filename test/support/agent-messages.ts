// What a test says to the user agent and what it hears.
import type { HtmlForm } from './html-form.js';

/** An answer, with its whole body. */
export interface AgentResponse {
  /** Where it came from: for a navigation, the last address of the redirects. */
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  /** Every `Set-Cookie` header of this answer alone. */
  readonly setCookies: readonly string[];
  readonly body: string;
  /** This answer and all redirects before it, oldest first. */
  readonly hops: readonly Hop[];
  json<T = unknown>(): T;
  /** The forms of an HTML page. */
  readonly forms: readonly HtmlForm[];
}

/** One request and its answer. */
export interface Hop {
  readonly method: string;
  readonly url: string;
  readonly requestHeaders: Readonly<Record<string, string>>;
  readonly status: number;
  readonly headers: Headers;
  readonly setCookies: readonly string[];
  /** Set-Cookie headers that the jar did not take, with the reason. */
  readonly refusedCookies: readonly { header: string; reason: string }[];
  readonly body: string;
}

/** Fields of a form, in order; as pairs where a name comes twice. */
export type FormFields = Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];

/** How a page is opened. */
export interface Navigation {
  method?: string;
  /** Fields of a form; makes it a POST of `application/x-www-form-urlencoded` unless `method` is `GET`. */
  form?: FormFields;
  /** Added to, and stronger than, what a browser would send. An empty string removes a header. */
  headers?: Record<string, string>;
  /**
   * The page it is opened from: its address, or null for an address typed in. By default null for GET, and for other
   * methods a page of the target's own origin.
   */
  from?: string | null;
  /** Stop at the first answer. By default redirects are followed, 15 at most. */
  followRedirects?: boolean;
  /** What is being filled: the window (`document`, the default), or a frame or image in the page `from`. */
  destination?: 'document' | 'iframe' | 'image';
}

/** How a script calls. */
export interface ScriptCall {
  method?: string;
  headers?: Record<string, string>;
  body?: string | URLSearchParams;
  /** Address of the page whose script calls. By default a page of the target's own origin. */
  from?: string;
  /** By default `same-origin`, as in browsers. */
  credentials?: 'omit' | 'same-origin' | 'include';
  followRedirects?: boolean;
}
