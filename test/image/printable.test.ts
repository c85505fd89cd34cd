import { expect, it } from 'vitest';
import { printable, quoted } from '../../src/image/printable.js';

it.each([
  ['plain text, "quotes" and ünïcode', 'plain text, "quotes" and ünïcode'],
  ['\x1b[31m red\nsecond\x7f\x9b line\u2028', '\\u001b[31m red\\u000asecond\\u007f\\u009b line\\u2028'],
  ['x'.repeat(300), 'x'.repeat(300)],
  ['x'.repeat(301), `${'x'.repeat(300)}…`],
])('%j', (text, shown) => {
  expect(printable(text)).toBe(shown);
});

it('quotes stay whole around what is cut', () => {
  expect(quoted(`"\x9b\n${'x'.repeat(400)}`)).toBe(`"\\"\\u009b\\n${'x'.repeat(297)}…"`);
});
