import { gunzipSync, gzipSync } from 'node:zlib';
import type zb from 'zstd-napi/binding.js';
import { messageOf, RafterError } from '../errors.js';
import { lz4, zstd } from './natives.js';
import type { Scratch } from './scratch.js';

/** Compression of a chunk, a batch or a table, by the names that Nydus uses on its command line. */
export type Compressor = 'none' | 'lz4_block' | 'gzip' | 'zstd';

/**
 * Measured on images of Python and Node.js applications: 0.86 of the size of their gzip layers, with 3 (the default of Nydus and of
 * the zstd library) 0.89, for a tenth more CPU time of a whole conversion. Reading costs the same.
 */
export const DEFAULT_ZSTD_LEVEL = 5;

/**
 * No unit of a RAFS image decodes to more: chunks end at 16 MiB, batches are refused above it by nydusd, and chunk
 * info arrays are bounded by their entry count (2^24 entries of 24 bytes).
 */
const MAX_DECODED_SIZE = 24 * (1 << 24);

let compressContext: InstanceType<typeof zb.CCtx> | undefined;
let decompressContext: InstanceType<typeof zb.DCtx> | undefined;
let scratch = Buffer.alloc(0);

/**
 * Compresses `raw` into one unit: a zstd frame with its content size and no checksum, one raw LZ4 block, or one gzip
 * member. The result is a buffer of its own. `level` counts for zstd only.
 */
export function compress(compressor: Compressor, raw: Buffer, level: number = DEFAULT_ZSTD_LEVEL): Buffer {
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
export function compressBriefly(compressor: Compressor, raw: Buffer, level: number): Buffer {
  return compressor === 'zstd' ? compressInScratch(raw, level) : compress(compressor, raw, level);
}

function compressInScratch(raw: Buffer, level: number): Buffer {
  const { CCtx, compressBound } = zstd();
  const bound = compressBound(raw.length);
  if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
  compressContext ??= new CCtx();
  return scratch.subarray(0, compressContext.compress(scratch, raw, level));
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
  scratch?: Scratch,
): Buffer {
  if (decodedSize > MAX_DECODED_SIZE) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `unit of ${decodedSize} decoded bytes; at most ${MAX_DECODED_SIZE}`,
    );
  }
  let decoded: Buffer;
  try {
    decoded = decode(compressor, stored, decodedSize, scratch);
  } catch (error) {
    throw new RafterError('MALFORMED', `${compressor} unit does not decode: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (decoded.length !== decodedSize) {
    throw new RafterError(
      'MALFORMED',
      `${compressor} unit decodes to ${decoded.length} bytes, not ${decodedSize}`,
    );
  }
  return decoded;
}

function decode(
  compressor: Compressor,
  stored: Buffer,
  decodedSize: number,
  scratch: Scratch | undefined,
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
