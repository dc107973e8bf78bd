// The demo's HTML. Every value that comes from outside is escaped.
import type { OAuthSession } from 'nest-oauth-client';

/** The page for strangers. */
export function frontPage({
  providers,
  memberName,
  loggedOut,
}: {
  providers: readonly { name: string; displayName: string }[];
  memberName: string | undefined;
  /** Whether the person has just come from logging out. */
  loggedOut: boolean;
}): string {
  const buttons = providers.map(
    ({ name, displayName }, index) =>
      `<a class="button ${index === 0 ? 'main' : ''}" href="/auth/${name}/login?returnTo=/dashboard">Log in with ${escape(displayName)}</a>`,
  );
  return page({
    title: 'nest-oauth-client demo',
    body: `<main class="front">
  ${loggedOut && memberName === undefined ? '<p class="notice calm" role="status">You are logged out.</p>' : ''}
  <div class="card hero">
    <h1>Log in, hold a session, call the API.</h1>
    <p>A small Nest application with one extra import. The database and the identity provider run on your machine, too.</p>
    ${memberName === undefined ? buttons.join('\n    ') : `<a class="button main" href="/dashboard">Continue as ${escape(memberName)}</a>`}
    <p class="hint">${memberName === undefined ? 'At Demo Identity, sign in as <b>alice</b> or <b>bob</b>. There is no password.' : 'You are logged in already.'}</p>
  </div>
  <ol class="steps">
    <li><b>The click</b> remembers a pending login in Postgres, bound to this browser, and sends you to the provider with state, PKCE and nonce.</li>
    <li><b>The way back</b> trades the code for tokens on the server. They are sealed in Postgres; your browser gets one random cookie.</li>
    <li><b>The dashboard</b> calls the provider’s API with an access token that lives for half a minute, and renews itself.</li>
  </ol>
</main>`,
  });
}

/** The page for members; `dashboard.js` fills in what moves. */
export function dashboardPage(session: OAuthSession, name: string): string {
  const { user } = session;
  const facts: [string, string | null][] = [
    ['Name', user.profile.name],
    ['Username', user.profile.username],
    ['E-mail', user.profile.email && `${user.profile.email}${user.profile.emailVerified ? ' (verified)' : ''}`],
    ['Provider', session.provider],
  ];
  const ids: [string, string][] = [
    ['Subject there', `<code>${escape(user.subject)}</code>`],
    ['User id here', `<code>${escape(user.id)}</code>`],
  ];
  const about: [string, string][] = [
    ['Began', timeTag(session.createdAt)],
    ['Ends at the latest', timeTag(session.expiresAt)],
    ['Granted scope', session.scope.map((scope) => `<code>${escape(scope)}</code>`).join(' ')],
  ];
  return page({
    title: `${name} · nest-oauth-client demo`,
    script: true,
    action: '<form method="post" action="/auth/logout"><button class="quiet" type="submit">Log out</button></form>',
    body: `<main class="dashboard">
  <h1>Hello, ${escape(name)}</h1>
  <p class="notice" id="notice" role="status" hidden></p>
  <section class="card token" aria-labelledby="token-title">
    <h2 id="token-title">Access token</h2>
    <p class="clock"><output id="seconds">…</output></p>
    <div class="bar"><i id="bar"></i></div>
    <p id="token-line" class="hint">The token itself never comes here: the server keeps it, sealed. You see when it expires.</p>
    <dl>
      <dt>Fingerprint</dt><dd><code id="fingerprint">…</code></dd>
      <dt>Refreshes</dt><dd id="refreshes">…</dd>
      <dt>The latest took</dt><dd id="took">–</dd>
    </dl>
  </section>
  <section class="card" aria-labelledby="api-title">
    <h2 id="api-title">The provider’s API</h2>
    <p class="hint"><code>tokens.fetch(session, url)</code> sends the fresh token and tries once more after a 401.</p>
    <p id="api-line" class="line">Asking …</p>
    <pre id="api-body" tabindex="0" aria-label="Answer of the API"></pre>
    <button type="button" id="ask" class="small">Ask again</button>
  </section>
  <section class="card" aria-labelledby="user-title">
    <h2 id="user-title">You</h2>
    ${definitions([...facts.flatMap(([key, value]): [string, string][] => (value === null ? [] : [[key, escape(value)]])), ...ids])}
  </section>
  <section class="card" aria-labelledby="session-title">
    <h2 id="session-title">This session</h2>
    ${definitions(about)}
    <h3>All your sessions</h3>
    <ul id="sessions" class="sessions"></ul>
  </section>
</main>`,
  });
}

function page({
  title,
  body,
  script = false,
  action = '',
}: {
  title: string;
  body: string;
  script?: boolean;
  action?: string;
}): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<link rel="icon" href="/files/mark.svg"><link rel="stylesheet" href="/files/demo.css">
${script ? '<script type="module" src="/files/dashboard.js"></script>' : ''}
</head>
<body>
<header><a class="brand" href="/"><img src="/files/mark.svg" alt="" width="28" height="28">nest-oauth-client</a>${action}</header>
${body}
</body>
</html>`;
}

function definitions(entries: readonly (readonly [string, string])[]): string {
  return `<dl>${entries.map(([key, html]) => `<dt>${key}</dt><dd>${html}</dd>`).join('')}</dl>`;
}

function timeTag(date: Date): string {
  return `<time datetime="${date.toISOString()}">${date.toISOString().slice(0, 16).replace('T', ' ')} UTC</time>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
