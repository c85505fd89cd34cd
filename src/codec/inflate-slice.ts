import { constants, inflateRawSync } from 'node:zlib';
import { messageOf, RafterError } from '../errors.js';

/** State of an inflate decoder at the start of a deflate block: enough to begin in the middle of a gzip file. */
export interface InflateStart {
  /** How many high bits of `byte`, the one in front of the slice, already belong to the block; 0 to 7. */
  bits: number;
  byte: number;
  /** The output before the block, 0 to 32768 bytes, which the block may refer to. */
  dictionary: Buffer;
}

/** The window of deflate: a dictionary cannot be longer. */
export const MAX_DICTIONARY_SIZE = 32768;
/** Gzip members in one slice at most: every one costs a decoder of its own. 16 MiB in members of 4 KiB. */
export const MAX_SLICE_MEMBERS = 4096;

/** What the last bytes of a slice may decode to beyond its end, where the block that they belong to goes on. */
const OUTPUT_SLACK = 1 << 16;
const OUTPUT_BUFFER_SIZE = 1 << 16;
const GZIP_TRAILER_SIZE = 8;
const GZIP_HEADER_SIZE = 10;
const GZIP_FLAG = { HCRC: 2, EXTRA: 4, NAME: 8, COMMENT: 16 } as const;

/**
 * Decodes `decodedSize` bytes from `slice`, a piece of a gzip file that begins where `start` says. Where a gzip member ends inside
 * the slice, the next one follows (RFC 1952 allows several in a file).
 * Throws MALFORMED if the slice does not decode or has fewer bytes, LIMIT_EXCEEDED above MAX_SLICE_MEMBERS.
 */
export function inflateSlice(slice: Buffer, start: InflateStart, decodedSize: number): Buffer {
  let { dictionary } = start;
  let input = withPrefix(slice, start);
  const parts: Buffer[] = [];
  let missing = decodedSize;
  for (let members = 1; ; members++) {
    if (members > MAX_SLICE_MEMBERS) {
      throw new RafterError('LIMIT_EXCEEDED', `a gzip slice of more than ${MAX_SLICE_MEMBERS} members`);
    }
    const { output, consumed } = inflateMember(input, dictionary, missing + OUTPUT_SLACK);
    parts.push(output.subarray(0, missing));
    missing -= Math.min(missing, output.length);
    if (missing === 0) break;
    const next = gzipDataOffset(input, consumed + GZIP_TRAILER_SIZE);
    if (next === undefined) {
      throw new RafterError(
        'MALFORMED',
        `gzip slice decodes to ${decodedSize - missing} bytes, not ${decodedSize}`,
      );
    }
    input = input.subarray(next);
    dictionary = Buffer.alloc(0);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** The output of `input` up to the end of the deflate stream or of the input, and how much of the input that took. */
function inflateMember(
  input: Buffer,
  dictionary: Buffer,
  limit: number,
): { output: Buffer; consumed: number } {
  try {
    // With `info` the result is an object, which the types of Node do not say.
    const { buffer, engine } = inflateRawSync(input, {
      info: true,
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: limit,
      chunkSize: OUTPUT_BUFFER_SIZE,
      ...(dictionary.length > 0 && { dictionary }),
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    return { output: buffer, consumed: engine.bytesWritten };
  } catch (error) {
    throw new RafterError('MALFORMED', `gzip slice does not decode: ${messageOf(error)}`, { cause: error });
  }
}

/** Offset behind the gzip header at `at` (RFC 1952), undefined if there is none. */
function gzipDataOffset(bytes: Buffer, at: number): number | undefined {
  if (at + GZIP_HEADER_SIZE > bytes.length || bytes.readUIntBE(at, 3) !== 0x1f8b08) return undefined;
  const flags = bytes[at + 3]!;
  let end = at + GZIP_HEADER_SIZE;
  if (flags & GZIP_FLAG.EXTRA) {
    if (end + 2 > bytes.length) return undefined;
    end += 2 + bytes.readUInt16LE(end);
  }
  for (const flag of [GZIP_FLAG.NAME, GZIP_FLAG.COMMENT]) {
    if ((flags & flag) === 0) continue;
    const nul = bytes.indexOf(0, end);
    if (nul < 0) return undefined;
    end = nul + 1;
  }
  if (flags & GZIP_FLAG.HCRC) end += 2;
  return end < bytes.length ? end : undefined;
}

/**
 * Node offers no way to put single bits into a decoder. So the slice gets whole blocks in front that decode to nothing and
 * are, together, as many bits long as the ones of `byte` that do not belong to the slice: the first bits of the slice then follow
 * in the same byte, and all others stay where they are.
 */
function withPrefix(slice: Buffer, { bits, byte }: InflateStart): Buffer {
  if (bits === 0) return slice;
  const prefix = Buffer.from(PREFIXES[bits]!);
  prefix[prefix.length - 1]! |= byte & (0xff << (8 - bits));
  return Buffer.concat([prefix, slice]);
}

/** A deflate block without content in fixed Huffman codes: not the last, type 1, end of block. 10 bits. */
const EMPTY_FIXED_BLOCK = ['0', '10', '0000000'].join('');

/**
 * The same with codes of its own, 91 bits; a fixed one cannot have an odd length. Not the last, type 2, 257 literal codes, 2
 * distance codes, 18 code lengths, of which those of 18 (a run of zeros) and of 1 are 1; then 256 zeros in two runs, three ones, and
 * the end of the block, the only literal with a code.
 */
const EMPTY_DYNAMIC_BLOCK = [
  '0',
  '01',
  '00000',
  '10000',
  '0111',
  codeLengths(),
  '11111111',
  '11101011',
  '000',
  '0',
].join('');

/** Three bits, lowest first, for each of the first 18 code lengths in the order of RFC 1951: 18 is the third, 1 the last. */
function codeLengths(): string {
  return Array.from({ length: 18 }, (_, i) => (i === 2 || i === 17 ? '100' : '000')).join('');
}

/** By number of bits that belong to the slice: the blocks that fill the others. */
const PREFIXES: readonly Buffer[] = Array.from({ length: 8 }, (_, bits) => {
  let text = bits % 2 === 0 ? '' : EMPTY_DYNAMIC_BLOCK;
  while ((text.length + bits) % 8 !== 0) text += EMPTY_FIXED_BLOCK;
  return packBits(text);
});

/** Bits as deflate stores them, the lowest of a byte first; the last byte is filled with zeros. */
function packBits(text: string): Buffer {
  const bytes = Buffer.alloc(Math.ceil(text.length / 8));
  for (let i = 0; i < text.length; i++) if (text[i] === '1') bytes[i >> 3]! |= 1 << (i & 7);
  return bytes;
}
