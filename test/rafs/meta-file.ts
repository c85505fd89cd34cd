import { encodeBatchContext } from '../../src/rafs/batch-context.js';
import type { BlobEntry } from '../../src/rafs/blob-entry.js';
import { type ChunkInfoV2, encodeChunkInfoV2 } from '../../src/rafs/chunk-info-v2.js';
import { CONTEXT_MAGIC, encodeContextHeader } from '../../src/rafs/context-header.js';

/** Feature words: chunk infos V1, V2, with batches, of a layer that is referred to. */
export const V1 = 0x70000021;
const V2 = 0x70000025;
const BATCH = 0x700000a5;
export const ZRAN = 0x7000003d;

/** A `.blob.meta` file with the given array, and an entry that agrees with it. */
export function metaFile(
  array: Buffer,
  features: number,
  chunkCount: number,
  contexts = 0,
): { bytes: Buffer; blob: BlobEntry } {
  const ci = {
    compressor: 'none' as const,
    offset: 10512,
    compressedSize: array.length,
    uncompressedSize: array.length,
  };
  const bytes = Buffer.alloc(Math.ceil(array.length / 4096) * 4096 + 4096);
  array.copy(bytes);
  encodeContextHeader(
    {
      magic: CONTEXT_MAGIC,
      features,
      ciCompressor: 0,
      ciEntries: chunkCount,
      ciOffset: ci.offset,
      ciCompressedSize: array.length,
      ciUncompressedSize: array.length,
      contextsOffset: contexts > 0 ? chunkCount * 24 : 0,
      contextsSize: contexts * 40,
      contextsCount: contexts,
      magicEnd: CONTEXT_MAGIC,
    },
    bytes,
    bytes.length - 4096,
  );
  const blob: BlobEntry = {
    id: 'ab',
    index: 0,
    chunkSize: 65536,
    chunkCount,
    compressor: 'zstd',
    digester: 'blake3',
    features,
    compressedSize: 99999,
    uncompressedSize: 0x10000,
    tocSize: 0,
    tocDigest: Buffer.alloc(32),
    ci,
    metaDigest: Buffer.alloc(32),
    metaSize: 0,
  };
  return { bytes, blob };
}

/** A compressed chunk with a CRC. */
export const GOOD: ChunkInfoV2 = {
  decodedOffset: 0,
  size: 5000,
  flags: 0x11,
  storedOffset: 0,
  storedSize: 100,
  dataLow: 7,
  dataHigh: 0,
};

/** A `.blob.meta` file with chunk infos V2, each GOOD but for what is given, and batch contexts. */
export function v2(
  infos: Partial<ChunkInfoV2>[],
  contexts: { storedSize: number; decodedSize: number }[] = [],
) {
  const array = Buffer.alloc(infos.length * 24 + contexts.length * 40);
  infos.forEach((info, i) => {
    encodeChunkInfoV2({ ...GOOD, ...info }, array, i * 24);
  });
  contexts.forEach((context, i) => {
    encodeBatchContext(context, array, infos.length * 24 + i * 40);
  });
  return metaFile(array, contexts.length > 0 ? BATCH : V2, infos.length, contexts.length);
}
