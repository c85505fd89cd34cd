import { expect, it } from 'vitest';
import { GrowingBuffer } from '../../src/rafs/growing-buffer.js';

it('gives back what was appended, also where an item does not fit what is left of a slab', () => {
  const growing = new GrowingBuffer();
  expect(Buffer.concat(growing.pieces)).toHaveLength(0);
  const expected: Buffer[] = [];
  for (let i = 0; i < 300; i++) {
    const item = Buffer.alloc(1 + ((i * 997) % 3000), i);
    expected.push(item);
    growing.append(item.length, (target, offset) => {
      if (i % 2 === 1) item.copy(target, offset);
      else item.fill(0);
    });
  }
  const all = Buffer.concat(expected);
  expect(growing.length).toBe(all.length);
  expect(Buffer.concat(growing.pieces).equals(all)).toBe(true);
  expect(growing.pieces.length).toBeGreaterThan(2);
});
