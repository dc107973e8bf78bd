// Answers as GitHub does, oddities included: errors with status 200, forms unless JSON is asked for, comma-separated
// scopes, no `expires_in` (unless it plays a GitHub App whose tokens expire), and 403 to callers that do not name themselves.
// @see https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A user of the double. */
export interface GithubUser {
  id: number;
  login: string;
  name?: string | null;
  /** The public address in the profile, usually none. */
  email?: string | null;
  emails?: readonly { email: string; primary: boolean; verified: boolean; visibility: 'public' | 'private' | null }[];
}

/** One request that came in. */
export interface GithubRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: Readonly<Record<string, string>>;
  status: number;
}

/** Options of {@link startGithubDouble}. */
export interface GithubDoubleOptions {
  clientId: string;
  clientSecret: string;
  redirectUri: string;
  /** The first one is logged in at GitHub. By default the famous octocat. */
  users?: GithubUser[];
  port?: number;
  /** Plays a GitHub App: tokens expire, and come with a refresh token. @defaultValue false */
  expiringTokens?: boolean;
}

interface Code {
  user: GithubUser;
  scope: string[];
  redirectUri: string;
  challenge: string | undefined;
}

interface Answer {
  status: number;
  /** Sent as JSON; by the token endpoint as a form, unless JSON was asked for. */
  body?: unknown;
  headers?: Record<string, string>;
}

const OCTOCAT: GithubUser = {
  ...{ id: 583231, login: 'octocat', name: 'The Octocat', email: null },
  emails: [
    { email: '583231+octocat@users.noreply.github.com', primary: false, verified: true, visibility: null },
    { email: 'octocat@github.com', primary: true, verified: true, visibility: 'private' },
  ],
};
const DOCS = 'https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors';
const NOT_FOUND: Answer = { status: 404, body: { message: 'Not Found', status: '404' } };
const BAD_CREDENTIALS: Answer = { status: 401, body: { message: 'Bad credentials', status: '401' } };

/** Starts the double on 127.0.0.1. */
export async function startGithubDouble(options: GithubDoubleOptions): Promise<GithubDouble> {
  const double = new GithubDouble(options);
  await double.listen(options.port ?? 0);
  return double;
}

/** See {@link startGithubDouble}. Public fields may be changed at any time. */
export class GithubDouble implements AsyncDisposable {
  /** Address of the web site, where `/login/oauth/authorize` and `/login/oauth/access_token` are. */
  url = '';
  /** Address of the API, where `/user` is; the same server. */
  apiUrl = '';
  /** Who is logged in at GitHub, and approves every application. Undefined for somebody who says no. */
  signedInAs: GithubUser | undefined;
  readonly users: GithubUser[];
  readonly requests: GithubRequest[] = [];
  /** Every live access token. */
  readonly tokens = new Map<string, { user: GithubUser; scope: string[] }>();

  /** Every live refresh token, with the access token that it came with. */
  readonly refreshTokens = new Map<string, string>();

  private readonly codes = new Map<string, Code>();
  private readonly server = createServer((request, response) => void this.serve(request, response));

  constructor(private readonly options: GithubDoubleOptions) {
    this.users = options.users ?? [OCTOCAT];
    this.signedInAs = this.users[0];
  }

  async listen(port: number): Promise<void> {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = this.apiUrl = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The requests to a path so far. */
  requestsTo(path: string): GithubRequest[] {
    return this.requests.filter((request) => request.path === path);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams } = new URL(request.url ?? '/', this.url);
    const { method = '', headers } = request;
    const body = await bodyOf(request);
    const entry: GithubRequest = { method, path, query: Object.fromEntries(searchParams), headers, body, status: 0 };
    this.requests.push(entry);

    const isToken = path === '/login/oauth/access_token';
    const answer = this.answer(entry);
    const asForm = isToken && !headers.accept?.includes('json');
    const type = asForm ? 'application/x-www-form-urlencoded; charset=utf-8' : 'application/json; charset=utf-8';
    const text = asForm
      ? String(new URLSearchParams(answer.body as Record<string, string>))
      : JSON.stringify(answer.body);
    entry.status = answer.status;
    response.writeHead(answer.status, {
      ...(answer.body !== undefined && { 'content-type': type }),
      ...answer.headers,
    });
    response.end(text);
  }

  private answer(request: GithubRequest): Answer {
    const { method, path, headers } = request;
    if (path === '/login/oauth/authorize') return method === 'GET' ? this.authorize(request.query) : NOT_FOUND;
    if (path === '/login/oauth/access_token') return method === 'POST' ? this.exchange(request) : NOT_FOUND;
    if (!headers['user-agent']) {
      return {
        status: 403,
        body: 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header',
      };
    }
    const [, clientId, what] = /^\/applications\/([^/]+)\/(token|grant)$/.exec(path) ?? [];
    if (method === 'DELETE' && clientId) return this.revoke(request, decodeURIComponent(clientId), what === 'grant');
    if (method === 'GET' && (path === '/user' || path === '/user/emails')) return this.profile(request);
    return NOT_FOUND;
  }

  /** GitHub asks the person; here whoever is logged in has always said yes, or no. */
  private authorize(query: Readonly<Record<string, string>>): Answer {
    if (query.client_id !== this.options.clientId) return NOT_FOUND;
    const redirectUri = query.redirect_uri ?? this.options.redirectUri;
    const back = (uri: string, answer: Record<string, string>): Answer => {
      const location = new URL(uri);
      const state = query.state === undefined ? {} : { state: query.state };
      for (const [name, value] of Object.entries({ ...answer, ...state })) location.searchParams.set(name, value);
      return { status: 302, headers: { location: location.href } };
    };
    if (!isBelow(redirectUri, this.options.redirectUri)) {
      const problem = 'The redirect_uri is not associated with this application.';
      return back(this.options.redirectUri, oauthError('redirect_uri_mismatch', problem));
    }
    if (!this.signedInAs)
      return back(redirectUri, oauthError('access_denied', 'The user has denied your application access.'));

    const code = randomBytes(10).toString('hex');
    const scope = (query.scope ?? '').split(/[ ,]+/).filter(Boolean).sort();
    this.codes.set(code, { user: this.signedInAs, scope, redirectUri, challenge: query.code_challenge });
    return back(redirectUri, { code });
  }

  /** Whatever is wrong, the status is 200. */
  private exchange({ body, headers }: GithubRequest): Answer {
    const wrong = (error: string, description: string): Answer => ({
      status: 200,
      body: oauthError(error, description),
    });
    const [basicId, basicSecret] = basicOf(headers.authorization);
    const [id, secret] = [body.client_id ?? basicId, body.client_secret ?? basicSecret];
    if (id !== this.options.clientId) return NOT_FOUND;
    if (secret !== this.options.clientSecret) {
      return wrong('incorrect_client_credentials', 'The client_id and/or client_secret passed are incorrect.');
    }
    if (body.grant_type === 'refresh_token') {
      const spent = this.refreshTokens.get(body.refresh_token ?? '');
      const token = this.tokens.get(spent ?? '');
      if (!spent || !token) return wrong('bad_refresh_token', 'The refresh token passed is incorrect or expired.');
      this.delete(spent);
      return this.issue(token);
    }
    const known = this.codes.get(body.code ?? '');
    this.codes.delete(body.code ?? '');
    const verifier = body.code_verifier ?? '';
    const proven = !known?.challenge || createHash('sha256').update(verifier).digest('base64url') === known.challenge;
    if (!known || !proven) return wrong('bad_verification_code', 'The code passed is incorrect or expired.');
    if (body.redirect_uri !== undefined && body.redirect_uri !== known.redirectUri) {
      return wrong(
        'redirect_uri_mismatch',
        'The redirect_uri MUST match the registered callback URL for this application.',
      );
    }
    return this.issue(known);
  }

  /** The tokens of GitHub Apps have permissions instead of scopes. */
  private issue({ user, scope }: Pick<Code, 'user' | 'scope'>): Answer {
    const app = this.options.expiringTokens === true;
    const token = `${app ? 'ghu' : 'gho'}_${randomBytes(18).toString('hex')}`;
    this.tokens.set(token, { user, scope });
    if (!app) return { status: 200, body: { access_token: token, scope: scope.join(','), token_type: 'bearer' } };
    const refreshToken = `ghr_${randomBytes(38).toString('hex')}`;
    this.refreshTokens.set(refreshToken, token);
    return {
      status: 200,
      body: {
        ...{ access_token: token, expires_in: 28800, refresh_token: refreshToken, refresh_token_expires_in: 15897600 },
        ...{ scope: '', token_type: 'bearer' },
      },
    };
  }

  private delete(token: string): void {
    this.tokens.delete(token);
    for (const [refreshToken, of] of this.refreshTokens) if (of === token) this.refreshTokens.delete(refreshToken);
  }

  private profile({ headers, path }: GithubRequest): Answer {
    const value = /^(?:bearer|token) (.+)$/i.exec(headers.authorization ?? '')?.[1];
    const token = this.tokens.get(value ?? '');
    if (!token) return BAD_CREDENTIALS;
    const { user, scope } = token;
    const shown = { headers: { 'x-oauth-scopes': scope.join(', '), 'x-accepted-oauth-scopes': '' } };
    if (path === '/user/emails') {
      if (!scope.some((one) => one === 'user:email' || one === 'user')) return { ...NOT_FOUND, ...shown };
      return { status: 200, body: user.emails ?? [], ...shown };
    }
    const { id, login, name = null, email = null } = user;
    const avatar_url = `https://avatars.githubusercontent.com/u/${id}?v=4`;
    return { status: 200, body: { login, id, type: 'User', site_admin: false, avatar_url, name, email }, ...shown };
  }

  /** Deleting the grant ends every token the user has given the application; deleting a token only that one. */
  private revoke({ headers, body }: GithubRequest, clientId: string, all: boolean): Answer {
    const [id, secret] = basicOf(headers.authorization);
    if (id !== this.options.clientId || secret !== this.options.clientSecret) return BAD_CREDENTIALS;
    const token = this.tokens.get(body.access_token ?? '');
    if (clientId !== id) return NOT_FOUND;
    if (!token) return { status: 422, body: { message: 'Validation Failed', status: '422' } };
    for (const [value, { user }] of this.tokens) {
      if (value === body.access_token || (all && user.id === token.user.id)) this.delete(value);
    }
    return { status: 204 };
  }
}

function oauthError(error: string, error_description: string): Record<string, string> {
  return { error, error_description, error_uri: `${DOCS}#${error.replaceAll('_', '-')}` };
}

/** GitHub takes any redirect URI of the registered host and port, at or below the registered path. */
function isBelow(uri: string, registered: string): boolean {
  if (!URL.canParse(uri)) return false;
  const [is, base] = [new URL(uri), new URL(registered)];
  return is.origin === base.origin && (is.pathname === base.pathname || is.pathname.startsWith(`${base.pathname}/`));
}

function basicOf(authorization = ''): [id?: string, secret?: string] {
  const [, encoded] = /^basic (.+)$/i.exec(authorization) ?? [];
  const [id, ...secret] = encoded ? Buffer.from(encoded, 'base64').toString('utf8').split(':') : [];
  return id === undefined ? [] : [decodeURIComponent(id), decodeURIComponent(secret.join(':'))];
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, string>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  if (!request.headers['content-type']?.includes('json')) return Object.fromEntries(new URLSearchParams(text));
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch {
    return {};
  }
}
