import { isRafterError, RafterError } from '../errors.js';
import { BlobMeta } from '../rafs/blob-meta.js';
import type { RafsBlob } from '../rafs/bootstrap.js';
import { type Descriptor, hexOf } from './descriptor.js';
import { NYDUS_BLOB_LAYER } from './media-types.js';
import type { ImageSource } from './source.js';

/** Bytes of the header that follows a blob's stored chunk map. */
const MAP_HEADER_SIZE = 4096;
/** Most bytes of one blob's chunk map: some millions of chunks. */
const MAX_MAP_SIZE = 256 << 20;

/**
 * The layer that is `blob`. A blob that the bootstrap names and no layer is gets a descriptor of its own: it is looked for in the
 * same repository.
 */
export function descriptorOfBlob(layers: readonly Descriptor[], blob: RafsBlob): Descriptor {
  const layer = layers.find(({ digest }) => hexOf(digest) === blob.id);
  return layer ?? { mediaType: NYDUS_BLOB_LAYER, digest: `sha256:${blob.id}`, size: blob.compressedSize };
}

/**
 * The chunk map that the bootstrap layer brings along. nydusify 2.4 writes only its last page if the blob is LZ4, so one
 * that is no map gives undefined: the blob has it too.
 */
export function parseSuppliedMap(file: Buffer, blob: RafsBlob): BlobMeta | undefined {
  try {
    return BlobMeta.parseFile(file, blob);
  } catch (error) {
    if (!isRafterError(error, 'MALFORMED')) throw error;
    return undefined;
  }
}

/** The bytes of the chunk map that the blob itself holds, for `BlobMeta.parseStored`. LIMIT_EXCEEDED above MAX_MAP_SIZE. */
export function readStoredMap(
  source: ImageSource,
  { descriptor, blob, signal }: { descriptor: Descriptor; blob: RafsBlob; signal?: AbortSignal | undefined },
): Promise<Buffer> {
  const size = blob.ci.compressedSize + MAP_HEADER_SIZE;
  if (size > MAX_MAP_SIZE)
    throw new RafterError('LIMIT_EXCEEDED', `blob ${blob.id}: a chunk map of ${size} bytes`);
  return source.readBlobRange(descriptor, blob.ci.offset, size, signal);
}
