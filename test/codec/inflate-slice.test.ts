import { randomBytes } from 'node:crypto';
import { constants, deflateRawSync, gzipSync, inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { inflateSlice, MAX_SLICE_MEMBERS } from '../../src/codec/inflate-slice.js';

/** Deflate blocks bit by bit, as RFC 1951 has them. */
class BitWriter {
  readonly #bits: number[] = [];

  get length(): number {
    return this.#bits.length;
  }

  /** A number, lowest bit first. */
  number(value: number, width: number): void {
    for (let i = 0; i < width; i++) this.#bits.push((value >> i) & 1);
  }

  /** A Huffman code, highest bit first. */
  code(value: number, width: number): void {
    for (let i = width - 1; i >= 0; i--) this.#bits.push((value >> i) & 1);
  }

  /** A block in the fixed codes: literals, and at the end 258 bytes copied from `distance` 32768 if `far` is set. */
  fixedBlock(literals: Buffer, { last = false, far = false } = {}): void {
    this.number(last ? 1 : 0, 1);
    this.number(1, 2);
    for (const byte of literals) {
      if (byte < 144) this.code(0x30 + byte, 8);
      else this.code(0x190 + byte - 144, 9);
    }
    if (far) {
      this.code(0b11000101, 8); // 285: length 258
      this.code(29, 5); // distances from 24577 on, 13 more bits
      this.number(32768 - 24577, 13);
    }
    this.code(0, 7);
  }

  storedBlock(content: Buffer): void {
    this.number(0, 3);
    while (this.#bits.length % 8 !== 0) this.#bits.push(0);
    this.number(content.length, 16);
    this.number(content.length ^ 0xffff, 16);
    for (const byte of content) this.number(byte, 8);
  }

  bytes(): Buffer {
    const bytes = Buffer.alloc(Math.ceil(this.#bits.length / 8));
    this.#bits.forEach((bit, i) => {
      bytes[i >> 3]! |= bit << (i & 7);
    });
    return bytes;
  }
}

describe('a slice that begins with any number of bits of a byte', () => {
  test.each([0, 1, 2, 3, 4, 5, 6, 7])('%i bits', (bits) => {
    const dictionary = randomBytes(32768);
    const writer = new BitWriter();
    writer.storedBlock(dictionary);
    // One literal of nine bits changes the position within a byte by three, as 3 + 9 + 7 bits are 19.
    while (writer.length % 8 !== (8 - bits) % 8) writer.fixedBlock(Buffer.from([200]));
    const start = writer.length;
    const before = inflateRawSync(writer.bytes(), { finishFlush: constants.Z_SYNC_FLUSH });
    writer.fixedBlock(Buffer.from('a block that begins anywhere'), { far: true });
    writer.storedBlock(Buffer.from('stored bytes must stay where they are'));
    writer.fixedBlock(Buffer.from([0, 255, 143, 144]), { last: true });
    const file = writer.bytes();
    const whole = inflateRawSync(file);

    const at = Math.ceil(start / 8);
    const decoded = whole.subarray(before.length);
    const window = before.subarray(-32768);
    const slice = inflateSlice(
      file.subarray(at),
      { bits, byte: file[at - 1]!, dictionary: window },
      decoded.length,
    );
    expect(slice.equals(decoded)).toBe(true);
    expect(slice.toString('latin1')).toContain('a block that begins anywhere');
  });
});

const FRESH = { bits: 0, byte: 0, dictionary: Buffer.alloc(0) };

/** A gzip member with everything that a header may have. */
function memberWithHeader(content: Buffer): Buffer {
  const header = Buffer.from([0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 255]);
  const extra = Buffer.from([3, 0, 1, 2, 3]);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(content.length, 4);
  return Buffer.concat([
    header,
    extra,
    Buffer.from('name\0comment\0'),
    Buffer.alloc(2),
    deflateRawSync(content),
    trailer,
  ]);
}

test('a slice goes on in the next gzip members, whatever stands in their headers', () => {
  const parts = ['one', 'two', 'three'].map((word) => Buffer.from(word.repeat(1000)));
  const file = Buffer.concat([gzipSync(parts[0]!), memberWithHeader(parts[1]!), gzipSync(parts[2]!)]);
  const whole = Buffer.concat(parts);
  expect(inflateSlice(file.subarray(10), FRESH, whole.length).equals(whole)).toBe(true);
  expect(inflateSlice(file.subarray(10), FRESH, 5000).equals(whole.subarray(0, 5000))).toBe(true);
});

test('a slice that ends before the block that it is in', () => {
  const content = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * i) >> 7));
  const file = deflateRawSync(content);
  const half = file.subarray(0, file.length >> 1);
  const decodable = inflateRawSync(half, { finishFlush: constants.Z_SYNC_FLUSH });
  const wanted = decodable.length - 200;
  expect(inflateSlice(half, FRESH, wanted).equals(content.subarray(0, wanted))).toBe(true);
});

const malformed = (message: RegExp) =>
  expect.objectContaining({ code: 'MALFORMED', message: expect.stringMatching(message) });

describe('refused', () => {
  const content = Buffer.from('some words of text '.repeat(100));
  const file = deflateRawSync(content);

  test('too few bytes', () => {
    expect(() => inflateSlice(file, FRESH, content.length + 1)).toThrow(malformed(/to 1900 bytes, not 1901/));
    expect(() => inflateSlice(file.subarray(0, 5), FRESH, content.length)).toThrow(malformed(/not 1900/));
    expect(() => inflateSlice(Buffer.alloc(0), FRESH, 1)).toThrow(malformed(/to 0 bytes, not 1/));
  });

  test('far more than the slice should be', () => {
    const bomb = deflateRawSync(Buffer.alloc(10 << 20));
    expect(() => inflateSlice(bomb, FRESH, 1000)).toThrow(malformed(/does not decode/));
  });

  test('no deflate data', () => {
    expect(() => inflateSlice(Buffer.alloc(100, 0xff), FRESH, 10)).toThrow(malformed(/does not decode/));
  });

  test('a window that is not there', () => {
    const dictionary = Buffer.from('words of text that are long enough');
    const short = deflateRawSync(content, { dictionary });
    expect(inflateSlice(short, { ...FRESH, dictionary }, content.length).equals(content)).toBe(true);
    expect(() => inflateSlice(short, FRESH, content.length)).toThrow(malformed(/does not decode/));
  });

  test.each<[string, (member: Buffer) => Buffer]>([
    ['another magic', (member) => Buffer.concat([Buffer.from([0x1f, 0x8c]), member.subarray(2)])],
    ['a header that ends in its extra field', (member) => member.subarray(0, 11)],
    ['a header that ends in its name', (member) => member.subarray(0, 18)],
    ['a header and no more', (member) => member.subarray(0, 30)],
  ])('a next member with %s', (_, cut) => {
    const next = cut(memberWithHeader(content));
    const input = Buffer.concat([file, Buffer.alloc(8), next]);
    expect(() => inflateSlice(input, FRESH, 2 * content.length)).toThrow(
      malformed(/to 1900 bytes, not 3800/),
    );
  });

  test('members without number', () => {
    const members = (count: number) => {
      const empty = gzipSync('');
      const all = [...Array.from({ length: count - 1 }, () => empty), gzipSync('x')];
      return Buffer.concat(all).subarray(10);
    };
    expect(inflateSlice(members(MAX_SLICE_MEMBERS), FRESH, 1).toString()).toBe('x');
    expect(() => inflateSlice(members(MAX_SLICE_MEMBERS + 1), FRESH, 1)).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
  });
});
