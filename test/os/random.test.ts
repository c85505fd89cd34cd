import { expect, it } from 'vitest';
import { randomHex } from '../../src/os/random.js';

it('gives other digits each time', () => {
  const all = new Set(Array.from({ length: 100 }, () => randomHex(6)));
  expect(all.size).toBe(100);
  for (const digits of all) expect(digits).toMatch(/^[0-9a-f]{12}$/);
});
