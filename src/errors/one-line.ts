// Text from elsewhere on its way into a log: one bounded line that a terminal shows as it is.

/** Control characters (C0, C1), line separators, and what turns the direction of text or is invisible. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** The text with everything unprintable blanked, cut to `length` characters. */
export function oneLine(text: string, length: number): string {
  return text.slice(0, length).replace(UNPRINTABLE, ' ');
}

/** JSON whose strings hold nothing unprintable: such characters are written as `\\uXXXX`. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
