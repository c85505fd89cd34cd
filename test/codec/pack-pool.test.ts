import { randomBytes } from 'node:crypto';
import { afterAll, expect, it } from 'vitest';
import { compress, decompress } from '../../src/codec/compressor.js';
import { PackPool } from '../../src/codec/pack-pool.js';

const pool = new PackPool({ threads: 2 });
afterAll(() => pool.close());

it('compresses a chunk as the calling thread would, and leaves the chunk usable', async () => {
  const raw = Buffer.from('chunk of text\n'.repeat(10_000));
  const copy = Buffer.from(raw);
  const unit = await pool.pack([raw], { compressor: 'zstd' });
  expect(unit.compressed).toBe(true);
  expect(unit.stored.equals(compress('zstd', raw))).toBe(true);
  expect(raw.equals(copy)).toBe(true);
});

it('compresses the members of a batch as one unit', async () => {
  const members = ['one '.repeat(50), 'two '.repeat(70), 'three '].map((text) => Buffer.from(text));
  const unit = await pool.pack(members, { compressor: 'zstd', level: 9 });
  const whole = Buffer.concat(members);
  expect(decompress('zstd', unit.stored, whole.length).equals(whole)).toBe(true);
});

it('stores what does not shrink', async () => {
  const noise = randomBytes(50_000);
  const unit = await pool.pack([noise], { compressor: 'zstd' });
  expect(unit.compressed).toBe(false);
  expect(unit.stored.equals(noise)).toBe(true);
});

it('stores raw bytes with the compressor none', async () => {
  const unit = await pool.pack([Buffer.from('a'.repeat(100)), Buffer.from('b')], { compressor: 'none' });
  expect(unit).toMatchObject({ compressed: false });
  expect(unit.stored.toString()).toBe(`${'a'.repeat(100)}b`);
});

it('packs many units at once, each with its own result', async () => {
  const units = Array.from({ length: 50 }, (_, i) => Buffer.from(`unit ${i} `.repeat(1000 + i)));
  const packed = await Promise.all(units.map((raw) => pool.pack([raw], { compressor: 'zstd' })));
  packed.forEach((unit, i) => {
    expect(decompress('zstd', unit.stored, units[i]!.length).equals(units[i]!)).toBe(true);
  });
});
