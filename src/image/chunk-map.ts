import { isRafterError, RafterError } from '../errors.js';
import { BlobFeature, hasFeature } from '../rafs/blob-features.js';
import { BlobMeta } from '../rafs/blob-meta.js';
import type { RafsBlob } from '../rafs/bootstrap.js';
import { useRange } from './asking-others.js';
import { type Descriptor, hexOf } from './descriptor.js';
import { NYDUS_BLOB_LAYER, OCI_LAYER_GZIP } from './media-types.js';
import type { ImageSource } from './source.js';

/** Bytes of the header that follows a blob's stored chunk map. */
const MAP_HEADER_SIZE = 4096;
/** Most bytes of one blob's chunk map: some millions of chunks. */
const MAX_MAP_SIZE = 256 << 20;

/**
 * The object that holds the chunks of `blob`: a layer of the image, or a layer of the ordinary image that it refers to. One that is
 * no layer gets a descriptor of its own: it is looked for in the same repository.
 */
export function descriptorOfBlob(layers: readonly Descriptor[], blob: RafsBlob): Descriptor {
  const layer = layers.find(({ digest }) => hexOf(digest) === blob.id);
  if (layer) return layer;
  const mediaType = isReference(blob) ? OCI_LAYER_GZIP : NYDUS_BLOB_LAYER;
  return { mediaType, digest: `sha256:${blob.id}`, size: blob.compressedSize };
}

/** True if the chunks of `blob` are in a layer of an ordinary image and only its chunk map is in an object of Nydus. */
export function isReference(blob: RafsBlob): boolean {
  return hasFeature(blob.features, BlobFeature.SEPARATE);
}

/** The object that holds the chunk map of `blob`, whose chunks are in `descriptor`. */
export function descriptorOfMap(blob: RafsBlob, descriptor: Descriptor): Descriptor {
  if (!isReference(blob)) return descriptor;
  return { mediaType: NYDUS_BLOB_LAYER, digest: `sha256:${mapNameOf(blob)}`, size: blob.metaSize };
}

/** Hexadecimal digest of the object that holds the chunk map of `blob`; the `.blob.meta` files of a bootstrap layer are named so. */
export function mapNameOf(blob: RafsBlob): string {
  return isReference(blob) ? blob.metaDigest.toString('hex') : blob.id;
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

/**
 * The chunk map as it is stored in or beside the blob that `descriptor` names, and its bytes; one that is wrong is read again
 * (`useRange`). `onBytes` is told of what was read. LIMIT_EXCEEDED above MAX_MAP_SIZE, and what `BlobMeta.parseStored` throws.
 */
export async function readStoredMap(
  source: ImageSource,
  {
    descriptor,
    blob,
    signal,
    onBytes,
  }: {
    descriptor: Descriptor;
    blob: RafsBlob;
    signal?: AbortSignal | undefined;
    onBytes?: (count: number) => void;
  },
): Promise<{ bytes: Buffer; map: BlobMeta }> {
  const size = blob.ci.compressedSize + MAP_HEADER_SIZE;
  if (size > MAX_MAP_SIZE)
    throw new RafterError('LIMIT_EXCEEDED', `blob ${blob.id}: a chunk map of ${size} bytes`);
  const holder = descriptorOfMap(blob, descriptor);
  const read = () => source.readBlobRange(holder, blob.ci.offset, size, signal);
  return useRange(source, read, (bytes) => {
    onBytes?.(bytes.length);
    return { bytes, map: BlobMeta.parseStored(bytes, blob) };
  });
}
