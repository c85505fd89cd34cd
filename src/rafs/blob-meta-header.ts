import { compressorId } from './algorithms.js';
import { BATCH_CONTEXT_SIZE } from './batch-context.js';
import { malformed } from './binary.js';
import { BlobFeature, hasFeature } from './blob-features.js';
import type { RafsBlob } from './bootstrap.js';
import { CHUNK_INFO_V1_SIZE } from './chunk-info-v1.js';
import { CHUNK_INFO_V2_SIZE } from './chunk-info-v2.js';
import { CONTEXT_MAGIC, decodeContextHeader } from './context-header.js';
import { ZRAN_CONTEXT_SIZE } from './zran-context.js';

/**
 * Reads the context header at `offset` of `bytes` and compares it with the blob table's entry. Returns the number of batch or gzip
 * contexts. Throws MALFORMED naming the field.
 */
export function checkContextHeader(
  bytes: Buffer,
  { offset, blob, source }: { offset: number; blob: RafsBlob; source: string },
): number {
  const header = decodeContextHeader(bytes, offset);
  const require = (field: string, value: number, expected: number) => {
    if (value !== expected)
      throw malformed(source, `context header ${field}`, offset, `${value}, expected ${expected}`);
  };
  require('magic', header.magic, CONTEXT_MAGIC);
  require('magic2', header.magicEnd, CONTEXT_MAGIC);
  require('ci_compressor', header.ciCompressor, compressorId(blob.ci.compressor));
  require('ci_entries', header.ciEntries, blob.chunkCount);
  require('ci_offset', header.ciOffset, blob.ci.offset);
  require('ci_compressed_size', header.ciCompressedSize, blob.ci.compressedSize);
  require('ci_uncompressed_size', header.ciUncompressedSize, blob.ci.uncompressedSize);
  const v2 = hasFeature(blob.features, BlobFeature.CHUNK_INFO_V2);
  const infos = header.ciEntries * (v2 ? CHUNK_INFO_V2_SIZE : CHUNK_INFO_V1_SIZE);
  if (hasFeature(blob.features, BlobFeature.ZRAN)) {
    require('contexts offset', header.contextsOffset, infos);
    require('ci_uncompressed_size', header.ciUncompressedSize, infos + header.contextsSize);
    if (header.contextsCount * ZRAN_CONTEXT_SIZE > header.contextsSize)
      throw malformed(
        source,
        'context header contexts count',
        offset,
        `${header.contextsCount} in ${header.contextsSize} bytes`,
      );
    return header.contextsCount;
  }
  const batches = hasFeature(blob.features, BlobFeature.BATCH);
  if (batches) require('contexts offset', header.contextsOffset, infos);
  const size = infos + (batches ? header.contextsCount * BATCH_CONTEXT_SIZE : 0);
  require('ci_uncompressed_size', header.ciUncompressedSize, size);
  return batches ? header.contextsCount : 0;
}
