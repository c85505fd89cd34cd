import { expect, it } from 'vitest';
import { parseWarnings, warningTeller } from '../../src/registry/warnings.js';

it.each([
  ['299 - "deprecated"', ['deprecated']],
  ['299 - "a, \\"b\\" c", 299 - "d"', ['a, "b" c', 'd']],
  [
    ['299 - "a"', '299 - "b"', '299 - "a"'],
    ['a', 'b'],
  ],
  ['199 - "a miscellaneous one"', []],
  ['299 proxy "of somebody else"', []],
  ['x299 - "a"', []],
  ['299 - "no end', []],
  ['299 - ""', []],
  ['299 - "two\u001b[31m lines\\\t"', ['two [31m lines']],
  [undefined, []],
])('reads %j', (warning, texts) => {
  expect(parseWarnings({ warning: warning as string })).toEqual(texts);
});

it('shows so many of an answer and no more, each so long', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `299 - "warning ${i}"`).join(', ');
  expect(parseWarnings({ warning: many(8) })).toHaveLength(8);
  expect(parseWarnings({ warning: many(9) })).toHaveLength(8);
  const [long] = parseWarnings({ warning: `299 - "${'x'.repeat(321)}"` });
  expect(long!.length).toBeLessThanOrEqual(320);
  expect(long!.length).toBeGreaterThan(100);
});

it('tells each once, with the registry that says it', () => {
  const told: string[] = [];
  const tell = warningTeller('registry.example.com', (text) => told.push(text));
  tell({});
  tell({ warning: '299 - "a"' });
  tell({ warning: '299 - "b", 299 - "a"' });
  expect(told).toEqual(['registry.example.com: a', 'registry.example.com: b']);
});

it('tells of so many, and once that there are more', () => {
  const told: string[] = [];
  const tell = warningTeller('h', (text) => told.push(text));
  const send = (i: number) => tell({ warning: `299 - "warning ${i}"` });
  for (let i = 0; i < 32; i++) send(i);
  expect(told).toHaveLength(32);
  expect(told.at(-1)).toBe('h: warning 31');
  for (let i = 0; i < 1000; i++) send(i);
  expect(told).toHaveLength(33);
  expect(told.at(-1)).toBe('h: more warnings, which are not shown');
});
