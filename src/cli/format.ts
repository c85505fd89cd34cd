import { stdout } from './stdout.js';

const units = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Bytes for people, in powers of 1000: `999 B`, `12.3 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** A reference with the digest that it led to, which it may have named itself. */
export function formatImage(reference: string, digest: string): string {
  return reference.endsWith(`@${digest}`) ? reference : `${reference}@${digest}`;
}

/** A duration in milliseconds for people: `340 ms`, `2.31 s`, `3 min 05 s`. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 99_995) return `${(ms / 1000).toFixed(2)} s`;
  return formatSeconds(ms / 1000);
}

/** A duration in whole seconds, at least one: `15 s`, `3 min 05 s`. */
export function formatSeconds(exact: number): string {
  const seconds = Math.max(1, Math.round(exact));
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

/** Fewer characters than this are no column to wrap words in. */
const MIN_COLUMN = 16;

/** A digest that stands alone in a cell, as the OCI image specification writes it, and how much of it a person compares. */
const DIGEST = /^(sha256:[0-9a-f]{12})[0-9a-f]{52}$/;

/**
 * Rows as aligned columns, two spaces apart, without trailing blanks. The first row is the head. If that is wider than `columns`,
 * by default the terminal's width, digests before the last column are shortened, and words of the last column that are still
 * beyond it go on in lines of their own below it, if there is some room.
 */
export function formatTable(
  table: string[][],
  { columns = stdout().isTTY ? stdout().columns : undefined }: { columns?: number | undefined } = {},
): string {
  const wide =
    widthsOf(table).reduce((sum, width) => sum + width + 2, -2) > (columns ?? Number.POSITIVE_INFINITY);
  const rows = wide ? table.map(withShortDigests) : table;
  const widths = widthsOf(rows);
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  const room =
    columns === undefined || columns - before < MIN_COLUMN ? Number.POSITIVE_INFINITY : columns - before;
  return rows
    .map((row) => {
      const [first = '', ...more] = wrapped(row.at(-1) ?? '', room);
      const cells = [...row.slice(0, -1).map((cell, i) => cell.padEnd(widths[i]!)), first];
      return [cells.join('  ').trimEnd(), ...more.map((line) => ' '.repeat(before) + line)].join('\n');
    })
    .join('\n');
}

/** Characters of the longest cell of each column. */
function widthsOf(rows: string[][]): number[] {
  return rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
}

function withShortDigests(row: string[]): string[] {
  return row.map((cell, i) => (i < row.length - 1 ? cell.replace(DIGEST, '$1…') : cell));
}

/** Lines of whole words, of `room` characters at most where the words allow it. */
function wrapped(text: string, room: number): string[] {
  if (text.length <= room) return [text];
  return text.split(' ').reduce<string[]>((lines, word) => {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > room) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
    return lines;
  }, []);
}
