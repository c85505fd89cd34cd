import { expect, it, vi } from 'vitest';
import { Borrowed, giveMemoryBack, takeMemory } from '../../src/os/spare-memory.js';

const MIB = 1 << 20;

it('gives memory again that was given back, also for something a little smaller', () => {
  const first = takeMemory(MIB);
  expect(first).toHaveLength(MIB);
  giveMemoryBack(first);
  const second = takeMemory(MIB - 5000);
  expect(second.buffer).toBe(first.buffer);
  expect(second).toHaveLength(MIB - 5000);
  giveMemoryBack(second);
});

it('does not give two the same', () => {
  const [first, second] = [takeMemory(MIB), takeMemory(MIB)];
  expect(first.buffer).not.toBe(second.buffer);
  giveMemoryBack(first);
  giveMemoryBack(first);
  const again = [takeMemory(MIB), takeMemory(MIB)].map(({ buffer }) => buffer);
  expect(again[0]).toBe(first.buffer);
  expect(again[1]).not.toBe(first.buffer);
});

it('wastes no large memory on little', () => {
  const large = takeMemory(4 * MIB);
  giveMemoryBack(large);
  expect(takeMemory(MIB).buffer).not.toBe(large.buffer);
});

it('leaves alone what is only a part, or is from elsewhere', () => {
  const bytes = takeMemory(MIB - 1);
  const other = Buffer.allocUnsafeSlow(MIB);
  giveMemoryBack(bytes.subarray(1));
  giveMemoryBack(bytes.subarray(0, MIB - 2));
  giveMemoryBack(Buffer.from(bytes.buffer));
  giveMemoryBack(other);
  const taken = Array.from({ length: 20 }, () => takeMemory(MIB - 1).buffer);
  expect(taken).not.toContain(bytes.buffer);
  expect(taken).not.toContain(other.buffer);
});

it('gives back together what was borrowed together', () => {
  const borrowed = new Borrowed();
  const [first, second] = [borrowed.take(3 * MIB), borrowed.add(takeMemory(3 * MIB))];
  borrowed.giveBack();
  borrowed.giveBack();
  const again = [takeMemory(3 * MIB), takeMemory(3 * MIB)].map(({ buffer }) => buffer);
  expect(new Set(again)).toEqual(new Set([first.buffer, second.buffer]));
});

it('keeps not more than some, and for a moment only', async () => {
  vi.useFakeTimers();
  vi.resetModules();
  try {
    const fresh = await import('../../src/os/spare-memory.js');
    const many = Array.from({ length: 10 }, () => fresh.takeMemory(4 * MIB));
    for (const bytes of many) fresh.giveMemoryBack(bytes);
    const kept = Array.from({ length: 10 }, () => fresh.takeMemory(4 * MIB));
    const known = new Set(many.map(({ buffer }) => buffer));
    expect(kept.filter(({ buffer }) => known.has(buffer))).toHaveLength(4);
    const [last] = kept;
    fresh.giveMemoryBack(last!);
    vi.advanceTimersByTime(3000);
    expect(fresh.takeMemory(4 * MIB).buffer).not.toBe(last!.buffer);
  } finally {
    vi.useRealTimers();
  }
});
