// @ts-check
// What people see of the identity provider: signing in, signing out, and when something went wrong. No script at all.

const STYLE = `
:root { color-scheme: light dark; --ink: #16181d; --soft: #5b6270; --paper: #fff; --ground: #eef1f6; --line: #d4d9e2; --act: #2f5bea; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceef3; --soft: #a3abba; --paper: #1c2028; --ground: #12151b; --line: #363d4a; --act: #6f92ff; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { width: min(24rem, 100%); background: var(--paper); border: 1px solid var(--line); border-radius: 14px;
  padding: 2rem; box-shadow: 0 10px 30px rgb(0 0 0 / 8%); }
.brand { display: flex; align-items: center; gap: .6rem; font-weight: 650; color: var(--soft); }
.brand i { width: 1.6rem; height: 1.6rem; border-radius: 50%; background: var(--act); box-shadow: inset 0 0 0 .4rem var(--paper), 0 0 0 2px var(--act); }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 1.2rem 0 .3rem; }
p { margin: .3rem 0 1rem; color: var(--soft); }
label { display: block; font-weight: 600; margin-top: 1rem; }
input[type=text] { width: 100%; margin-top: .35rem; padding: .65rem .75rem; font: inherit; color: inherit; background: var(--ground);
  border: 1px solid var(--line); border-radius: 8px; }
button { width: 100%; margin-top: 1.2rem; padding: .7rem; font: inherit; font-weight: 650; color: #fff; background: var(--act);
  border: 0; border-radius: 8px; cursor: pointer; }
.small { margin: 1.4rem 0 0; font-size: .92rem; }
button.quiet { color: inherit; background: transparent; border: 1px solid var(--line); margin-top: .6rem; }
:focus-visible { outline: 3px solid color-mix(in srgb, var(--act) 50%, transparent); outline-offset: 2px; }
.problem { color: #b3261e; font-weight: 600; }
@media (prefers-color-scheme: dark) { .problem { color: #ff8a80; } button:not(.quiet) { color: #0d1117; } }
`;

/** Makes text safe inside HTML and its attributes. @param {unknown} text */
export function escapeHtml(text) {
  const names = /** @type {Record<string, string>} */ ({ '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": '#39' });
  return String(text).replace(/[&<>"']/g, (character) => `&${names[character]};`);
}

/** @param {string} body HTML inside the card. */
function page(body) {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo Identity</title><link rel="icon" href="data:,"><style>${STYLE}</style></head>
<body><main><div class="brand"><i></i>Demo Identity</div>
${body}
</main></body></html>`;
}

/**
 * The sign-in page.
 *
 * @param {{ action: string, cancel: string, client: string, usernames: string[], hint?: string, problem?: string }} about
 */
export function signInPage({ action, cancel, client, usernames, hint = '', problem }) {
  return page(`<h1>Sign in</h1>
<p>to continue to <strong>${escapeHtml(client)}</strong></p>
${problem ? `<p class="problem" role="alert">${escapeHtml(problem)}</p>` : ''}
<form method="post" action="${escapeHtml(action)}">
<label for="username">Username</label>
<input id="username" name="username" type="text" value="${escapeHtml(hint)}" list="known" autocomplete="username" autocapitalize="none" autofocus required>
<datalist id="known">${usernames.map((name) => `<option value="${escapeHtml(name)}"></option>`).join('')}</datalist>
<button type="submit">Sign in</button>
</form>
<form method="post" action="${escapeHtml(cancel)}"><button class="quiet" type="submit">Cancel</button></form>
<p class="small">No password here: try ${usernames.map((name) => `<strong>${escapeHtml(name)}</strong>`).join(' or ')}.</p>`);
}

/** The question before signing out. @param {string} form The provider's own form, id `op.logoutForm`. */
export function signOutPage(form) {
  return page(`<h1>Sign out?</h1>
<p>Do you want to sign out of Demo Identity, too?</p>
${form}
<button type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>Sign out</button>
<button class="quiet" type="submit" form="op.logoutForm">Stay signed in</button>`);
}

/** What follows a sign-out without a page to go back to. */
export function signedOutPage() {
  return page('<h1>Signed out</h1><p>You have signed out. This window may be closed.</p>');
}

/** @param {Record<string, unknown>} problem The members of an OAuth error, such as `error` and `error_description`. */
export function problemPage(problem) {
  const lines = Object.entries(problem).map(
    ([name, value]) => `<p><strong>${escapeHtml(name)}</strong>: ${escapeHtml(value)}</p>`,
  );
  return page(`<h1>Something went wrong</h1>${lines.join('')}`);
}
