import { expect, it } from 'vitest';
import { budgetOf, formatBudget } from './budget.mjs';

const step = (name: string, atMs: number, ms: number) => ({ name, atMs, ms });

it('takes the middle of each step of several starts, in the order of the first', () => {
  const starts = [
    [step('command', 0, 100), step('mount', 100, 30), step('container', 130, 300)],
    [step('command', 0, 120), step('mount', 120, 20), step('container', 140, 500)],
    [step('command', 0, 90), step('mount', 90, 90), step('container', 180, 310)],
  ];
  expect(budgetOf(starts)).toEqual([
    step('command', 0, 100),
    step('mount', 100, 30),
    step('container', 140, 310),
  ]);
});

it('leaves out what only some starts had', () => {
  const starts = [[step('command', 0, 1), step('start the daemon', 1, 400)], [step('command', 0, 2)]];
  expect(budgetOf(starts)).toEqual([step('command', 0, 2)]);
  expect(budgetOf([])).toEqual([]);
});

it('is a table in milliseconds', () => {
  expect(formatBudget('rafter', [step('command', 0, 99.6), step('mount', 1234.4, 3)])).toBe(
    'rafter, ms\n      at    took\n       0     100  command\n    1234       3  mount',
  );
});
