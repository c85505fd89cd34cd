import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Compressor, compress, decompress, decompressAside } from '../../src/codec/compressor.js';
import { isRafterError } from '../../src/errors.js';
import { libzstd } from '../../src/os/libzstd.js';

const compressors: Compressor[] = ['none', 'lz4_block', 'gzip', 'zstd'];
const text = Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(1000));

/** With enough decoded bytes for another thread, where the machine has the library. */
const ways = {
  'on this thread': async (...unit: Parameters<typeof decompress>) => decompress(...unit),
  aside: (...[compressor, stored, size]: Parameters<typeof decompress>) =>
    decompressAside(compressor, stored, size, { take: (bytes) => Buffer.alloc(bytes, 'x') }),
};
const all = Object.entries(ways).flatMap(([name, decode]) =>
  compressors.map((compressor) => ({ name, decode, compressor })),
);

describe.each(all)('$compressor, decoded $name', ({ compressor, decode }) => {
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from([7])],
    ['text', text],
    ['noise', randomBytes(70_000)],
    ['a chunk of zeros', Buffer.alloc(1 << 20)],
  ])('gives %s back', async (_name, raw) => {
    const stored = compress(compressor, raw);
    expect((await decode(compressor, stored, raw.length)).equals(raw)).toBe(true);
  });

  it('refuses a unit that decodes to another size than the metadata says', async () => {
    const stored = compress(compressor, text);
    for (const size of [text.length - 1, text.length + 1])
      await expect(decode(compressor, stored, size)).rejects.toMatchObject({ code: 'MALFORMED' });
  });

  it('refuses to allocate more than any RAFS unit can hold', async () => {
    await expect(decode(compressor, text, 2 ** 31)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  it('damaged bytes never escape as another error', async () => {
    const stored = compress(compressor, text);
    for (let at = 0; at < Math.min(stored.length, 2000); at++) {
      const damaged = Buffer.from(stored);
      damaged[at]! ^= 0x55;
      try {
        await decode(compressor, damaged, text.length);
      } catch (error) {
        expect(isRafterError(error, 'MALFORMED')).toBe(true);
      }
    }
  });
});

it('decodes several units at a time, each into its own room', async () => {
  const raws = Array.from({ length: 12 }, (_, i) => randomBytes(40_000 + i));
  const decoded = await Promise.all(
    raws.map((raw) =>
      decompressAside('zstd', compress('zstd', raw), raw.length, { take: Buffer.allocUnsafeSlow }),
    ),
  );
  expect(decoded.map((bytes, i) => bytes.equals(raws[i]!))).not.toContain(false);
});

it('the library that other threads use is here, and says what is wrong', async (ctx) => {
  const library = libzstd();
  if (library === undefined) return ctx.skip('no libzstd.so.1');
  const room = Buffer.alloc(text.length);
  expect(await library.decompressAside(room, compress('zstd', text))).toBe(text.length);
  expect(room.equals(text)).toBe(true);
  await expect(library.decompressAside(room, Buffer.from('this is no frame of zstd'))).rejects.toThrow(
    /frame/,
  );
  await expect(library.decompressAside(room.subarray(1), compress('zstd', text))).rejects.toThrow(
    /too small/,
  );
});

it('gives results that later calls do not overwrite', () => {
  const first = compress('zstd', text);
  const copy = Buffer.from(first);
  compress('zstd', randomBytes(100_000));
  expect(first.equals(copy)).toBe(true);
});

it('writes zstd frames with the content size in the header and no checksum', () => {
  const descriptor = compress('zstd', text)[4]!;
  expect(descriptor >> 6).toBeGreaterThan(0);
  expect(descriptor & 0x04).toBe(0);
});

describe('zstd without a level', () => {
  const lines = Buffer.from(
    Array.from({ length: 20_000 }, (_, i) => `line ${i * i} of ${i % 77}\n`).join(''),
  );
  /** With so many bytes of NUL behind it that they are a part of all. */
  const withNuls = (part: number) => Buffer.concat([lines, Buffer.alloc((lines.length * part) / (1 - part))]);

  it.each([
    ['text is compressed with level 5', lines, 5],
    ['text with a few NUL bytes, too', withNuls(0.05), 5],
    ['other data with level 3', withNuls(0.08), 3],
  ])('%s', (_name, raw, level) => {
    const packed = compress('zstd', raw);
    expect(packed.equals(compress('zstd', raw, level))).toBe(true);
    expect(packed.equals(compress('zstd', raw, 8 - level))).toBe(false);
  });
});
