import { expect, it } from 'vitest';
import { ByteArena } from '../../src/convert/byte-arena.js';

it('keeps what it is given, whatever becomes of the original and of later ones', () => {
  const arena = new ByteArena();
  const source = Buffer.alloc(300);
  const kept = Array.from({ length: 2000 }, (_, i) => arena.keep(source.fill(i % 251).subarray(0, i % 300)));
  kept.forEach((bytes, i) => {
    expect(bytes.equals(Buffer.alloc(i % 300, i % 251))).toBe(true);
  });
});

it('puts small pieces side by side, and a piece of any size where it fits', () => {
  const arena = new ByteArena();
  const one = arena.keep(Buffer.from('one'));
  expect(arena.keep(Buffer.from('two')).buffer).toBe(one.buffer);
  expect(arena.keep(Buffer.alloc(64 << 10, 7)).equals(Buffer.alloc(64 << 10, 7))).toBe(true);
  expect(arena.keep(Buffer.alloc(0))).toHaveLength(0);
  expect(one.toString()).toBe('one');
});
