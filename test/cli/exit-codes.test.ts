import { expect, it } from 'vitest';
import { exitCodeOf } from '../../src/cli/exit-codes.js';

it.each([
  ['FAILED', 1],
  ['USAGE', 2],
  ['NOT_FOUND', 3],
  ['DENIED', 4],
  ['DIGEST_MISMATCH', 5],
  ['TRUNCATED', 5],
  ['UNSUPPORTED', 6],
  ['INTERRUPTED', 130],
] as const)('%s ends with %d', (code, exit) => {
  expect(exitCodeOf(code)).toBe(exit);
});
