import { gunzipSync, gzipSync } from 'node:zlib';
import type zb from 'zstd-napi/binding.js';
import { messageOf, RafterError } from '../errors.js';
import { libzstd } from '../os/libzstd.js';
import { lz4, zstd } from './natives.js';
import type { Scratch } from './scratch.js';

/** Gives room for what is decoded. */
type Room = Pick<Scratch, 'take'>;

/** Compression of a chunk, a batch or a table, by the names that Nydus uses on its command line. */
export type Compressor = 'none' | 'lz4_block' | 'gzip' | 'zstd';

/**
 * zstd levels where none is asked for. Level 5 takes twice the time of level 3. It makes text 4 to 8 % smaller, and other data, of
 * which there is more, 3 %. Reading costs the same.
 */
const TEXT_LEVEL = 5;
const DATA_LEVEL = 3;
/** Data with more NUL bytes is not text: a part of all bytes. Batches may hold both. */
const MAX_NULS_IN_TEXT = 1 / 16;
/** Every so many bytes one is looked at. */
const SAMPLE_DISTANCE = 64;

/**
 * No unit of a RAFS image decodes to more: chunks end at 16 MiB, batches are refused above it by nydusd, and chunk
 * info arrays are bounded by their entry count (2^24 entries of 24 bytes).
 */
const MAX_DECODED_SIZE = 24 * (1 << 24);

/** Less is decoded sooner than another thread hears of it. */
const ASIDE_FROM = 32 << 10;

let compressContext: InstanceType<typeof zb.CCtx> | undefined;
let decompressContext: InstanceType<typeof zb.DCtx> | undefined;
let scratch = Buffer.alloc(0);

/**
 * Compresses `raw` into one unit: a zstd frame with its content size and no checksum, one raw LZ4 block, or one gzip
 * member. The result is a buffer of its own. `level` counts for zstd only; by default it depends on the bytes.
 */
export function compress(compressor: Compressor, raw: Buffer, level?: number): Buffer {
  switch (compressor) {
    case 'none':
      return raw;
    case 'zstd':
      return Buffer.from(compressInScratch(raw, level));
    case 'lz4_block':
      // lz4-napi puts the decoded size in front of the block, as 4 little-endian bytes.
      return lz4().compressSync(raw).subarray(4);
    case 'gzip':
      return gzipSync(raw);
  }
}

/** As `compress`, but the result may be a buffer that the next call uses again. */
export function compressBriefly(compressor: Compressor, raw: Buffer, level: number | undefined): Buffer {
  return compressor === 'zstd' ? compressInScratch(raw, level) : compress(compressor, raw, level);
}

function compressInScratch(raw: Buffer, level = levelFor(raw)): Buffer {
  const { CCtx, compressBound } = zstd();
  const bound = compressBound(raw.length);
  if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
  compressContext ??= new CCtx();
  return scratch.subarray(0, compressContext.compress(scratch, raw, level));
}

function levelFor(raw: Buffer): number {
  let nuls = 0;
  for (let at = 0; at < raw.length; at += SAMPLE_DISTANCE) if (raw[at] === 0) nuls++;
  return nuls * SAMPLE_DISTANCE <= raw.length * MAX_NULS_IN_TEXT ? TEXT_LEVEL : DATA_LEVEL;
}

/**
 * Decodes one unit made by `compress` or by the Nydus tools. `decodedSize` comes from the image's metadata, never from
 * the unit itself, and bounds what is allocated. With `scratch` the result may stand there.
 * Throws MALFORMED if the unit is damaged or decodes to another size.
 */
export function decompress(
  compressor: Compressor,
  stored: Buffer,
  decodedSize: number,
  scratch?: Room,
): Buffer {
  checkDecodedSize(decodedSize);
  let decoded: Buffer;
  try {
    decoded = decode(compressor, stored, decodedSize, scratch);
  } catch (error) {
    throw undecodable(compressor, error);
  }
  return ofSize(decoded, decodedSize, compressor);
}

/**
 * As `decompress`, with zstd on another thread where the machine has its library: nobody may change `stored`, nor what `room` gave, until
 * this settles.
 */
export async function decompressAside(
  compressor: Compressor,
  stored: Buffer,
  decodedSize: number,
  room: Room,
): Promise<Buffer> {
  const library = compressor === 'zstd' && decodedSize >= ASIDE_FROM ? libzstd() : undefined;
  if (library === undefined) return decompress(compressor, stored, decodedSize, room);
  checkDecodedSize(decodedSize);
  const target = room.take(decodedSize);
  let size: number;
  try {
    size = await library.decompressAside(target, stored);
  } catch (error) {
    throw undecodable(compressor, error);
  }
  return ofSize(target.subarray(0, size), decodedSize, compressor);
}

function checkDecodedSize(decodedSize: number): void {
  if (decodedSize > MAX_DECODED_SIZE) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `unit of ${decodedSize} decoded bytes; at most ${MAX_DECODED_SIZE}`,
    );
  }
}

function undecodable(compressor: Compressor, cause: unknown): RafterError {
  return new RafterError('MALFORMED', `${compressor} unit does not decode: ${messageOf(cause)}`, { cause });
}

function ofSize(decoded: Buffer, decodedSize: number, compressor: Compressor): Buffer {
  if (decoded.length === decodedSize) return decoded;
  throw new RafterError(
    'MALFORMED',
    `${compressor} unit decodes to ${decoded.length} bytes, not ${decodedSize}`,
  );
}

function decode(
  compressor: Compressor,
  stored: Buffer,
  decodedSize: number,
  scratch: Room | undefined,
): Buffer {
  switch (compressor) {
    case 'none':
      return stored;
    case 'zstd': {
      const target = scratch?.take(decodedSize) ?? Buffer.allocUnsafeSlow(decodedSize);
      decompressContext ??= new (zstd().DCtx)();
      return target.subarray(0, decompressContext.decompress(target, stored));
    }
    case 'lz4_block': {
      const framed = Buffer.allocUnsafe(4 + stored.length);
      framed.writeUInt32LE(decodedSize, 0);
      stored.copy(framed, 4);
      return lz4().uncompressSync(framed);
    }
    case 'gzip':
      return gunzipSync(stored, { maxOutputLength: Math.max(decodedSize, 1) });
  }
}
