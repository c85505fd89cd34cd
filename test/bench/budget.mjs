import { median } from './comparison.mjs';

/**
 * Where the time of a start goes, from what `rafter run --timing --json` told of several: the steps of each, medians of their
 * times. Steps that not every start had are left out.
 * @param {import('./budget.mjs').Step[][]} starts
 * @returns {import('./budget.mjs').Step[]}
 */
export function budgetOf(starts) {
  const [first = []] = starts;
  return first
    .map(({ name }) => ({ name, all: starts.map((steps) => steps.find((step) => step.name === name)) }))
    .filter(({ all }) => !all.includes(undefined))
    .map(({ name, all }) => ({
      name,
      atMs: median(all.map(({ atMs }) => atMs)),
      ms: median(all.map(({ ms }) => ms)),
    }));
}

/**
 * A budget as text for a terminal: when each step began, how long it took, in milliseconds.
 * @param {string} title
 * @param {import('./budget.mjs').Step[]} steps
 */
export function formatBudget(title, steps) {
  const line = ({ name, atMs, ms }) =>
    `  ${[atMs, ms].map((time) => time.toFixed(0).padStart(6)).join('  ')}  ${name}`;
  return [`${title}, ms`, '      at    took', ...steps.map(line)].join('\n');
}
