import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Compressor, compress, decompress } from '../../src/codec/compressor.js';
import { isRafterError } from '../../src/errors.js';

const compressors: Compressor[] = ['none', 'lz4_block', 'gzip', 'zstd'];
const text = Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(1000));

describe.each(compressors)('%s', (compressor) => {
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from([7])],
    ['text', text],
    ['noise', randomBytes(70_000)],
    ['a chunk of zeros', Buffer.alloc(1 << 20)],
  ])('gives %s back', (_name, raw) => {
    const stored = compress(compressor, raw);
    expect(decompress(compressor, stored, raw.length).equals(raw)).toBe(true);
  });

  it('refuses a unit that decodes to another size than the metadata says', () => {
    const stored = compress(compressor, text);
    for (const size of [text.length - 1, text.length + 1]) {
      expect(() => decompress(compressor, stored, size)).toThrow(
        expect.objectContaining({ code: 'MALFORMED' }),
      );
    }
  });

  it('refuses to allocate more than any RAFS unit can hold', () => {
    expect(() => decompress(compressor, text, 2 ** 31)).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
  });
});

it.each(['lz4_block', 'gzip', 'zstd'] as const)(
  '%s: damaged bytes never escape as another error',
  (compressor) => {
    const stored = compress(compressor, text);
    for (let at = 0; at < stored.length; at++) {
      const damaged = Buffer.from(stored);
      damaged[at]! ^= 0x55;
      try {
        decompress(compressor, damaged, text.length);
      } catch (error) {
        expect(isRafterError(error, 'MALFORMED')).toBe(true);
      }
    }
  },
);

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
