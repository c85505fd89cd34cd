import type { Descriptor, Digest } from '../image/descriptor.js';
import type { Index } from '../image/manifest.js';
import { referredLayers } from '../image/referred-layers.js';
import type { ImageSource } from '../image/source.js';
import { isStartupLayer, withStartupLayer } from '../image/startup-layer.js';
import { storeBlob } from '../image/store-blob.js';
import type { ImageTarget } from '../image/target.js';
import { copyMembers, copyMissingBlobs } from '../transports/copy.js';
import type { TracedImage } from './open-traced.js';

export interface PublishOptions {
  source: ImageSource;
  target: ImageTarget;
  /** Stored at the target already. */
  pack: { digest: Digest; size: number; tableSize: number; tableDigest: Digest };
  signal?: AbortSignal | undefined;
  onProgress?: ((step: 'copy', done: number, total: number) => void) | undefined;
}

/**
 * Puts the image with its pack at the target: blobs that it lacks, configuration, manifest and, if the image is in an index, that with all
 * its other members. Nothing is committed.
 */
export async function publish(
  { top, descriptor, manifest, config }: TracedImage,
  { source, target, pack, signal, onProgress }: PublishOptions,
): Promise<{ top: Descriptor; manifest: Descriptor; copiedBytes: number }> {
  target.checkKind?.(top.index === undefined ? 'nydus' : 'index');
  const report = ({ done, total }: { done: number; total: number }) => onProgress?.('copy', done, total);
  const layers = manifest.layers.filter((layer) => !isStartupLayer(layer));
  const blobs = [...layers, ...(await referredLayers(source, manifest, signal))];
  let { copiedBytes } = await copyMissingBlobs(source, target, blobs, { signal, onProgress: report });
  const made = withStartupLayer({ manifest, config }, pack);
  await storeBlob(target, signal, (write) => write(made.config.bytes));
  const { bytes, mediaType } = made.manifest;
  const stored = await target.putManifest(bytes, mediaType, { tag: top.index === undefined, signal });
  if (top.index === undefined) return { top: stored, manifest: stored, copiedBytes };
  const others = top.index.manifests.filter(({ digest }) => digest !== descriptor.digest);
  const members = await copyMembers(source, target, others, { signal, onProgress: report });
  copiedBytes += members.copiedBytes;
  const index = indexWith(top.index, { old: descriptor.digest, stored });
  const named = await target.putManifest(index, top.index.mediaType, { tag: true, signal });
  return { top: named, manifest: stored, copiedBytes };
}

/** The bytes of `index` with the manifest `stored` in place of `old`. Platform, annotations and all else stay. */
function indexWith(index: Index, { old, stored }: { old: Digest; stored: Descriptor }): Buffer {
  const { digest, size } = stored;
  const manifests = index.manifests.map((entry) => {
    const { data: _, ...rest } = entry;
    return entry.digest === old ? { ...rest, digest, size } : entry;
  });
  return Buffer.from(JSON.stringify({ ...index.raw, manifests }));
}
