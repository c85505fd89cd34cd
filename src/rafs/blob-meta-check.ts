import { encryptedSize } from '../codec/unit-cipher.js';
import { RafterError } from '../errors.js';
import { storedDataSize } from './blob-check.js';
import type { BlobEntry } from './blob-entry.js';
import type { BlobChunk } from './blob-meta.js';
import { MAX_BATCH_SIZE, MAX_SLICE_SIZE } from './limits.js';

/**
 * Checks every chunk of a blob: ascending without overlap in decoded space, inside the blob in both spaces, sizes that
 * agree with the flags, batches and gzip slices that hold their members.
 * Throws MALFORMED naming the chunk, LIMIT_EXCEEDED for batches above 16 MiB and slices above 64 MiB.
 */
export function checkChunks(chunks: Iterable<BlobChunk>, blob: BlobEntry, source: string): void {
  const dataSize = storedDataSize(blob);
  let end = 0;
  for (const chunk of chunks) {
    const wrong = (problem: string) =>
      new RafterError('MALFORMED', `${source}: chunk info ${chunk.index}: ${problem}`);
    if (chunk.decodedOffset < end) throw wrong(`decoded offset ${chunk.decodedOffset} is below ${end}`);
    if (chunk.size > blob.chunkSize)
      throw wrong(`${chunk.size} bytes in a blob of ${blob.chunkSize}-byte chunks`);
    end = chunk.decodedOffset + chunk.size;
    if (end > blob.uncompressedSize)
      throw wrong(`ends at ${end} in a decoded blob of ${blob.uncompressedSize}`);
    if (chunk.encrypted && !blob.cipher) throw wrong('is encrypted, but the bootstrap has no key');
    if (chunk.batch) checkMember(chunk, chunk.batch, source);
    else if (chunk.storedSize === 0) throw wrong('has no stored bytes');
    else if (!chunk.compressed && chunk.storedSize !== rawSize(chunk)) {
      throw wrong(`is stored raw, but as ${chunk.storedSize} bytes instead of ${rawSize(chunk)}`);
    }
    if (chunk.crc === 0) throw wrong('has a CRC of 0');
    const storedEnd = chunk.storedOffset + (chunk.batch ?? chunk).storedSize;
    if (storedEnd > dataSize) throw wrong(`ends at ${storedEnd} in stored data of ${dataSize}`);
  }
}

/** Stored bytes of a chunk that is not compressed. */
function rawSize({ size, encrypted }: BlobChunk): number {
  return encrypted ? encryptedSize(size) : size;
}

function checkMember(chunk: BlobChunk, batch: NonNullable<BlobChunk['batch']>, source: string): void {
  const { index, offset, storedSize, decodedSize } = batch;
  const name = `${source}: ${chunk.inflate ? 'gzip slice' : 'batch'} ${index}`;
  const wrong = (problem: string) => new RafterError('MALFORMED', `${name}: ${problem}`);
  const limit = chunk.inflate ? MAX_SLICE_SIZE : MAX_BATCH_SIZE;
  const largest = chunk.inflate ? Math.max(storedSize, decodedSize) : decodedSize;
  if (largest > limit) {
    throw new RafterError('LIMIT_EXCEEDED', `${name}: ${largest} bytes; at most ${limit}`);
  }
  const most = chunk.inflate ? limit : chunk.encrypted ? encryptedSize(decodedSize) : decodedSize;
  if (storedSize === 0 || storedSize > most) throw wrong(`${storedSize} stored bytes for ${decodedSize}`);
  if (offset + chunk.size > decodedSize) {
    throw wrong(
      `chunk ${chunk.index} at ${offset} to ${offset + chunk.size} leaves its ${decodedSize} bytes`,
    );
  }
}
