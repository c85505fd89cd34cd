import { expect, it } from 'vitest';
import {
  formatBytes,
  formatDuration,
  formatImage,
  formatSeconds,
  formatTable,
} from '../../src/cli/format.js';

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [12_345_678, '12.3 MB'],
  [123_456_789, '123 MB'],
  [5e13, '50.0 TB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

it.each(['h.io/app:1', 'oci:dir:tag', 'h.io/app@sha256:ab'])('%s has its digest once', (reference) => {
  expect(formatImage(reference, 'sha256:ab')).toBe(`${reference.replace(/@.*/, '')}@sha256:ab`);
});

it.each([
  [0.4, '0 ms'],
  [999, '999 ms'],
  [2310, '2.31 s'],
  [99_990, '99.99 s'],
  [185_400, '3 min 05 s'],
])('%d ms are %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

it.each([
  [0.2, '1 s'],
  [59.4, '59 s'],
  [59.6, '1 min 00 s'],
])('%d seconds, of a guess, are %s', (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

it('aligns the columns of a table', () => {
  expect(
    formatTable([
      ['NAME', 'SIZE'],
      ['python', '1'],
      ['x', '22'],
    ]),
  ).toBe('NAME    SIZE\npython  1\nx       22');
});

it('words of a last column that a terminal has no room for go on below it', () => {
  const rows = [
    ['CHECK', 'NEEDED BY'],
    ['clock', 'every command with a registry'],
  ];
  const whole = 'CHECK  NEEDED BY\nclock  every command with a registry';
  expect(formatTable(rows, { columns: 36 })).toBe(whole);
  expect(formatTable(rows, { columns: 35 })).toBe(
    'CHECK  NEEDED BY\nclock  every command with a\n       registry',
  );
  // Too narrow for a column, or no terminal: the terminal or the reader may do it.
  expect(formatTable(rows, { columns: 20 })).toBe(whole);
  expect(formatTable(rows)).toBe(whole);
});

it('shortens digests where a terminal has no room for their rows, but none that ends its row', () => {
  const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
  const rows = [
    ['LAYER', 'SIZE', 'TYPE'],
    [digest, '1 B', 'application/gzip'],
  ];
  expect(formatTable(rows, { columns: 95 })).toContain(`${digest}  1 B   application/gzip`);
  expect(formatTable(rows, { columns: 94 })).toBe(
    'LAYER                 SIZE  TYPE\nsha256:0123456789ab…  1 B   application/gzip',
  );
  expect(formatTable(rows)).toContain(digest);
  expect(formatTable([['digest:', digest]], { columns: 80 })).toBe(`digest:  ${digest}`);
});
