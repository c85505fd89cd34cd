import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, it } from 'vitest';
import { compress, decompress } from '../../src/codec/compressor.js';
import { PackPool } from '../../src/codec/pack-pool.js';
import { sharedBuffer } from '../../src/codec/shared-buffer.js';

const pool = new PackPool({ threads: 2 });
afterAll(() => pool.close());

/** `bytes` in the middle of memory that threads share. */
function shared(bytes: Buffer | string): Buffer {
  const source = Buffer.from(bytes);
  const raw = sharedBuffer(source.length + 20).subarray(7, 7 + source.length);
  source.copy(raw);
  return raw;
}

it('compresses a unit in its place, as the calling thread would', async () => {
  const text = Buffer.from('chunk of text\n'.repeat(10_000));
  const raw = shared(text);
  const unit = await pool.pack(raw, { compressor: 'zstd' });
  expect(unit.compressed).toBe(true);
  expect(unit.stored.equals(compress('zstd', text))).toBe(true);
  expect(unit.stored.buffer).toBe(raw.buffer);
  expect(unit.stored.byteOffset).toBe(raw.byteOffset);
});

it('writes nothing outside the unit', async () => {
  const whole = sharedBuffer(3000).fill('x');
  await pool.pack(whole.subarray(1000, 2000), { compressor: 'zstd' });
  expect(whole.subarray(0, 1000).every((byte) => byte === 0x78)).toBe(true);
  expect(whole.subarray(2000).every((byte) => byte === 0x78)).toBe(true);
});

it('compresses at the level that is asked for, and with lz4', async () => {
  const text = Buffer.from(Array.from({ length: 5000 }, (_, i) => `line ${i * i}\n`).join(''));
  const nine = await pool.pack(shared(text), { compressor: 'zstd', level: 9 });
  expect(nine.stored.equals(compress('zstd', text, 9))).toBe(true);
  expect(nine.stored.equals(compress('zstd', text))).toBe(false);
  const lz4 = await pool.pack(shared(text), { compressor: 'lz4_block' });
  expect(decompress('lz4_block', Buffer.from(lz4.stored), text.length).equals(text)).toBe(true);
});

it('leaves what does not shrink as it is', async () => {
  const noise = randomBytes(50_000);
  const unit = await pool.pack(shared(noise), { compressor: 'zstd' });
  expect(unit.compressed).toBe(false);
  expect(unit.stored.equals(noise)).toBe(true);
});

it('stores raw bytes with the compressor none', async () => {
  const unit = await pool.pack(shared('a'.repeat(100)), { compressor: 'none' });
  expect(unit).toMatchObject({ compressed: false });
  expect(unit.stored.toString()).toBe('a'.repeat(100));
});

it('packs many units at once, each with its own result', async () => {
  const units = Array.from({ length: 50 }, (_, i) => Buffer.from(`unit ${i} `.repeat(1000 + i)));
  const packed = await Promise.all(units.map((raw) => pool.pack(shared(raw), { compressor: 'zstd' })));
  packed.forEach((unit, i) => {
    expect(decompress('zstd', Buffer.from(unit.stored), units[i]!.length).equals(units[i]!)).toBe(true);
  });
});

it('refuses memory that its threads do not see', async () => {
  await expect(pool.pack(Buffer.alloc(100), { compressor: 'zstd' })).rejects.toThrow('shared memory');
});

it('unpacks layers beside its other work', async () => {
  const bytes = randomBytes(100_000);
  const packing = pool.pack(shared(bytes), { compressor: 'zstd' });
  const layers = [0, 1, 2].map(() =>
    pool.unpack(Readable.from([gzipSync(bytes)]), { name: 'layer', algorithm: 'sha256' }),
  );
  for (const layer of layers) {
    const pieces: Buffer[] = [];
    for await (const piece of layer.pieces) pieces.push(Buffer.from(piece));
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
    expect(layer.digest()).toBe(createHash('sha256').update(bytes).digest('hex'));
    layer.close();
  }
  expect((await packing).compressed).toBe(false);
});

it('packs and unpacks again after its threads were ended', async () => {
  const text = Buffer.from('chunk of text\n'.repeat(1000));
  await pool.pack(shared(text), { compressor: 'zstd' });
  await pool.rest();
  expect((await pool.pack(shared(text), { compressor: 'zstd' })).stored.equals(compress('zstd', text))).toBe(
    true,
  );
  await pool.rest();
  const layer = pool.unpack(Readable.from([gzipSync(text)]), { name: 'layer', algorithm: 'sha256' });
  const pieces: Buffer[] = [];
  for await (const piece of layer.pieces) pieces.push(Buffer.from(piece));
  expect(Buffer.concat(pieces).equals(text)).toBe(true);
  layer.close();
});

it('starts no thread any more when it is closed: it would keep the process alive', async () => {
  const closed = new PackPool({ threads: 1 });
  await closed.close();
  const raw = shared('some text');
  await expect(closed.pack(raw, { compressor: 'zstd' })).rejects.toThrow('have ended');
  const layer = Readable.from([gzipSync(raw)]);
  expect(() => closed.unpack(layer, { name: 'layer', algorithm: 'sha256' })).toThrow('have ended');
});

it('lets many units wait for one signal without a warning', async () => {
  const warnings: Error[] = [];
  // Of what other tests of this process left behind there may be other warnings.
  const note = (warning: Error) => warning.name.startsWith('MaxListeners') && warnings.push(warning);
  process.on('warning', note);
  try {
    const { signal } = new AbortController();
    const units = Array.from({ length: 30 }, () => sharedBuffer(1000));
    await Promise.all(units.map((raw) => pool.pack(raw, { compressor: 'zstd', signal })));
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', note);
  }
});
