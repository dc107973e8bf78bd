// Tables and numbers in Markdown.

/** A number as a reader wants it: thousands apart, no false digits; a dash for nothing. */
export function shown(value) {
  if (value === null || value === undefined || value === '') return '–';
  if (typeof value !== 'number') return String(value);
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) < 1000) return String(value);
  return Math.round(value).toLocaleString('en-US');
}

/** So many significant digits. */
export const digits = (value, count = 2) =>
  value === null || value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(count));

const escaped = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/**
 * A table. Columns that are empty in every row are left out.
 *
 * @param {any[]} rows
 * @param {[title: string, cell: string | ((row: any) => unknown)][]} columns a member's name or a function
 */
export function table(rows, columns) {
  if (rows.length === 0) return '_Not part of this run._';
  const of = (row, cell) => (typeof cell === 'function' ? cell(row) : row[cell]);
  const used = columns.filter(([, cell]) => rows.some((row) => ![null, undefined, ''].includes(of(row, cell))));
  const line = (cells) => `| ${cells.map((cell) => escaped(shown(cell))).join(' | ')} |`;
  return [
    line(used.map(([title]) => title)),
    `| ${used.map((_, at) => (at === 0 ? '---' : '---:')).join(' | ')} |`,
    ...rows.map((row) => line(used.map(([, cell]) => of(row, cell)))),
  ].join('\n');
}

/** Ours in bold. */
export const named = ({ variant }) => (String(variant).startsWith('ours') ? `**${variant}**` : variant);

/** Bytes in the unit that fits. */
export function bytes(value) {
  if (!Number.isFinite(value)) return '–';
  const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
  const at = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${digits(value / 1000 ** at, 3)} ${units[at]}`;
}
