import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { decompress } from '../../src/codec/compressor.js';
import { chunkDigest } from '../../src/codec/digest.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import type { Bootstrap, RafsBlob } from '../../src/rafs/bootstrap.js';

/** Bytes of the header that follows a stored chunk info array. */
const CONTEXT_HEADER_SIZE = 4096;

/**
 * Writes the decoded address space of a blob, which is what the kernel's EROFS wants as a device. Every chunk that
 * the image refers to is compared with its digest in the bootstrap.
 */
export function writeDecodedBlob(
  bootstrap: Bootstrap,
  blob: RafsBlob,
  files: { blob: string; out: string },
): void {
  const bytes = readFileSync(files.blob);
  const { offset, compressedSize } = blob.ci;
  const meta = BlobMeta.parseStored(
    bytes.subarray(offset, offset + compressedSize + CONTEXT_HEADER_SIZE),
    blob,
  );
  const out = openSync(files.out, 'w');
  try {
    ftruncateSync(out, blob.uncompressedSize);
    for (let i = 0; i < meta.chunkCount; i++) {
      const chunk = meta.chunk(i);
      const raw = chunk.batch
        ? decode(bytes, chunk.storedOffset, chunk.batch, blob).subarray(
            chunk.batch.offset,
            chunk.batch.offset + chunk.size,
          )
        : decode(bytes, chunk.storedOffset, { storedSize: chunk.storedSize, decodedSize: chunk.size }, blob);
      const expected = bootstrap.chunkDigest(blob.index, i);
      // A chunk that upper layers hide has no entry in the image's chunk table.
      if (expected && !chunkDigest(blob.digester, Buffer.from(raw)).equals(expected)) {
        throw new Error(`chunk ${i} of blob ${blob.id} does not match its digest`);
      }
      writeSync(out, raw, 0, raw.length, chunk.decodedOffset);
    }
  } finally {
    closeSync(out);
  }
}

function decode(
  bytes: Buffer,
  offset: number,
  unit: { storedSize: number; decodedSize: number },
  blob: RafsBlob,
): Buffer {
  const stored = bytes.subarray(offset, offset + unit.storedSize);
  return unit.storedSize === unit.decodedSize
    ? stored
    : decompress(blob.compressor, stored, unit.decodedSize);
}
