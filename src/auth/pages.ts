// The few pages of our own: plain, self-contained, without script; every value escaped.
import { createHash } from 'node:crypto';

const STYLE = `
:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;background:Canvas;color:CanvasText}
main{max-width:26rem;padding:2rem;text-align:center}
h1{font-size:1.4rem;margin:0 0 .5rem}
p{margin:.5rem 0}
a{display:block;margin:.75rem 0;padding:.75rem 1rem;border:1px solid;border-radius:.5rem;text-decoration:none;color:inherit}
a:hover,a:focus-visible{outline:2px solid;outline-offset:2px}
small{opacity:.7}`;

/** Content-Security-Policy of these pages: nothing but the one inline style, by its hash. */
export const PAGE_CSP = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

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
  smallPrint,
}: {
  title: string;
  text?: string;
  links?: readonly PageLink[];
  smallPrint?: string;
}): string {
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">',
    `<title>${escape(title)}</title><style>${STYLE}</style></head><body><main>`,
    `<h1>${escape(title)}</h1>`,
    text === undefined ? '' : `<p>${escape(text)}</p>`,
    ...links.map((link) => `<a href="${escape(link.href)}">${escape(link.text)}</a>`),
    smallPrint === undefined ? '' : `<p><small>${escape(smallPrint)}</small></p>`,
    '</main></body></html>',
  ].join('\n');
}

/** Escapes text for HTML elements and quoted attributes. */
export function escape(text: string): string {
  return text.replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}
