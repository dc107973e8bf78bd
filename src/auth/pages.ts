// The few pages of our own: plain, self-contained, every value escaped; without script but for the one that submits.
import { createHash } from 'node:crypto';

const STYLE = `
:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;background:Canvas;color:CanvasText}
main{box-sizing:border-box;width:min(30rem,100%);padding:2rem;text-align:center}
h1{font-size:1.4rem;margin:0 0 .5rem}
p{margin:.5rem 0}
a,button{display:block;margin:.75rem 0;padding:.75rem 1rem;border:1px solid;border-radius:.5rem;text-decoration:none;color:inherit}
button{width:100%;font:inherit;background:none;cursor:pointer}
a:hover,a:focus-visible,button:hover,button:focus-visible{outline:2px solid;outline-offset:2px}
small{opacity:.7;font-size:.8rem}`;

const SUBMIT = 'document.forms[0].submit()';

/** Content-Security-Policy of these pages: nothing but the one inline style, by its hash. */
export const PAGE_CSP = `default-src 'none'; style-src '${hashOf(STYLE)}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/**
 * Content-Security-Policy of a page that submits its form by itself.
 * @param landings other origins that the answer to the form may redirect to; some browsers count redirects as well
 */
export function formCsp(landings: readonly string[]): string {
  const targets = ["'self'", ...landings].join(' ');
  return `default-src 'none'; style-src '${hashOf(STYLE)}'; script-src '${hashOf(SUBMIT)}'; base-uri 'none'; form-action ${targets}; frame-ancestors 'none'`;
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** A form that submits itself; the button is for browsers without script. */
export interface PageForm {
  readonly action: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly button: string;
}

/** A link that looks like a button. */
export interface PageLink {
  readonly text: string;
  readonly href: string;
}

/** A page with a heading, a paragraph, links, and a small print. */
export function page({
  title,
  text,
  links = [],
  form,
  smallPrint,
}: {
  title: string;
  text?: string;
  links?: readonly PageLink[];
  form?: PageForm;
  smallPrint?: string;
}): string {
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">',
    `<title>${escape(title)}</title><style>${STYLE}</style></head><body><main>`,
    `<h1>${escape(title)}</h1>`,
    text === undefined ? '' : `<p>${escape(text)}</p>`,
    ...links.map((link) => `<a href="${escape(link.href)}">${escape(link.text)}</a>`),
    form === undefined ? '' : markup(form),
    smallPrint === undefined ? '' : `<p><small>${escape(smallPrint)}</small></p>`,
    '</main></body></html>',
  ].join('\n');
}

function markup({ action, fields, button }: PageForm): string {
  const inputs = Object.entries(fields).map(
    ([name, value]) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`,
  );
  return `<form method="post" action="${escape(action)}">${inputs.join('')}<button>${escape(button)}</button></form><script>${SUBMIT}</script>`;
}

/** Escapes text for HTML elements and quoted attributes. */
export function escape(text: string): string {
  return text.replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}
