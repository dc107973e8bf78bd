// Finds the forms in a page and fills them in, as far as plain pages need it: inputs, buttons, no script.

/** A form as it stands in a page. */
export interface HtmlForm {
  readonly id: string | undefined;
  readonly method: 'GET' | 'POST';
  /** Absolute URL. */
  readonly action: string;
  /** Names and values that are sent when nothing is changed, in order; buttons are not among them. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The buttons that can send it. */
  readonly buttons: readonly { name: string | undefined; value: string; text: string }[];
}

/**
 * All forms of a page, in order.
 *
 * @param base Address of the page, against which actions are resolved.
 */
export function formsIn(html: string, base: string): HtmlForm[] {
  const page = html.replace(/<!--[^]*?-->|<(script|style)\b[^]*?<\/\1\s*>/gi, '');
  return [...page.matchAll(/<form\b([^>]*)>([^]*?)<\/form\s*>/gi)].map(([whole, head = '', inside = '']) => {
    const { id, method, action } = attributesOf(head);
    // Controls outside a form belong to it by its id.
    const outside = id === undefined ? [] : controlsIn(page.replace(whole, '')).filter(({ form }) => form === id);
    const controls = [...controlsIn(inside), ...outside];
    const isButton = ({ tag, type }: Control) => tag === 'button' || type === 'submit';
    return {
      id,
      method: method?.toUpperCase() === 'POST' ? 'POST' : 'GET',
      action: new URL(action ?? '', base).href,
      fields: controls.filter((control) => !isButton(control)).flatMap(successful),
      buttons: controls.filter(isButton).map(({ name, value = '', text }) => ({ name, value, text })),
    };
  });
}

/** Turns the character references of HTML into characters. */
export function decodeHtml(text: string): string {
  const names: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
  return text.replace(/&(?:#x([\da-f]+)|#(\d+)|([a-z]+));/gi, (whole, hex, decimal, name) =>
    hex || decimal ? String.fromCodePoint(parseInt(hex ?? decimal, hex ? 16 : 10)) : (names[name] ?? whole),
  );
}

interface Control {
  tag: string;
  type: string;
  name?: string | undefined;
  value?: string | undefined;
  form?: string | undefined;
  text: string;
  on: boolean;
}

function controlsIn(html: string): Control[] {
  const pattern = /<(?:(input)\b([^>]*)>|(button|textarea)\b([^>]*)>([^]*?)<\/\3\s*>)/gi;
  return [...html.matchAll(pattern)].map(([, input, inputHead, tag, head, inside = '']) => {
    const attributes = attributesOf(inputHead ?? head ?? '');
    const type = (attributes.type ?? (input ? 'text' : tag?.toLowerCase() === 'button' ? 'submit' : '')).toLowerCase();
    const checkable = type === 'checkbox' || type === 'radio';
    return {
      ...{ tag: (input ?? tag ?? '').toLowerCase(), type, name: attributes.name, form: attributes.form },
      value: tag?.toLowerCase() === 'textarea' ? decodeHtml(inside) : (attributes.value ?? (checkable ? 'on' : '')),
      text: decodeHtml(inside.replace(/<[^>]*>/g, '')).trim(),
      on: attributes.disabled === undefined && (!checkable || attributes.checked !== undefined),
    };
  });
}

function successful({ name, value = '', on }: Control): [string, string][] {
  return name && on ? [[name, value]] : [];
}

function attributesOf(head: string): Partial<Record<string, string>> {
  const pattern = /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/g;
  const found = [...head.matchAll(pattern)].map(
    ([, name = '', double, single, bare]) => [name.toLowerCase(), decodeHtml(double ?? single ?? bare ?? '')] as const,
  );
  return Object.fromEntries(found);
}
