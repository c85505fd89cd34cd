import type { BlobLayout } from '../cache/layout.js';
import { RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import { OCI_MANIFEST } from '../image/media-types.js';
import { isStartupLayer } from '../image/startup-layer.js';
import { EMPTY_CONFIG, profileManifest } from '../image/startup-profile.js';
import { storeBlob } from '../image/store-blob.js';
import type { ImageTarget } from '../image/target.js';
import { chunksOver } from '../rafs/chunks-over.js';
import { type ChunkRange, formatProfile } from '../startup/profile.js';
import { type Touch, touchedBytes } from '../trace/trace.js';
import { type TracedImage, type TracedImageRequest, withTracedImage } from './open-traced.js';

/** The image is in a registry. */
export interface AttachRequest extends TracedImageRequest {
  /** The same image, for writing. Called only for an image that something can be attached to. */
  openTarget: () => ImageTarget;
  /** When it is attached: of several profiles the latest counts. Default: now. */
  now?: Date | undefined;
}

/** What was attached. Sizes in bytes. */
export interface AttachSummary {
  /** The artifact. */
  digest: Digest;
  /** The image's manifest, which it refers to. */
  subject: Digest;
  profile: { digest: Digest; size: number; chunks: number; ranges: number };
  /** What the traces touched. */
  touchedBytes: number;
  /** Decoded bytes of the chunks that this is in. */
  chunkBytes: number;
  warnings: string[];
}

/**
 * Attaches a start-up profile to an image that stays as it is: an artifact that names the chunks which `traces` touched, in the order of
 * first use. A mount of the image asks for these first. Nothing of the image is written.
 * Throws USAGE for traces of another image and for ones that touched nothing, UNSUPPORTED for an image in no registry, and what source,
 * target and readers throw.
 */
export async function attachProfile(request: AttachRequest): Promise<AttachSummary> {
  const { source, openTarget } = request;
  if (source.place === undefined)
    throw new RafterError(
      'UNSUPPORTED',
      `${source.name}: a profile can be attached to an image in a registry only`,
      {
        hint: 'rafter optimize IMAGE TARGET writes an image that has its start-up data in itself',
      },
    );
  return withTracedImage(request, 'attaching', async (image) => {
    const target = openTarget();
    try {
      return await attach(request, image, target);
    } finally {
      await target.abort();
    }
  });
}

async function attach(
  { source, signal, now: createdAt = new Date() }: AttachRequest,
  { trace, descriptor, manifest, blobs, warnings }: TracedImage,
  target: ImageTarget,
): Promise<AttachSummary> {
  if (manifest.layers.some(isStartupLayer))
    warnings.push(`${source.name} has a start-up pack, so mounts do not ask for what is attached to it`);
  const layouts = blobs.map(({ layout }) => layout);
  const chunks = chunksTouched(trace.touches, layouts);
  const profile = formatProfile({ blobs: trace.blobs, chunks });
  const { stored } = await storeBlob(target, signal, (write) => write(profile));
  await storeBlob(target, signal, (write) => write(EMPTY_CONFIG));
  const bytes = profileManifest(profile, { subject: descriptor, createdAt });
  const { digest } = await target.putManifest(bytes, OCI_MANIFEST, { tag: false, signal });
  await target.commit();
  const each = chunks.flatMap(({ blob, first, count }) =>
    Array.from({ length: count }, (_, i) => layouts[blob]!.chunk(first + i).size),
  );
  return {
    digest,
    subject: descriptor.digest,
    profile: { ...stored, chunks: each.length, ranges: chunks.length },
    touchedBytes: touchedBytes(trace),
    chunkBytes: each.reduce((sum, size) => sum + size, 0),
    warnings,
  };
}

/** The chunks that `touches` are in, in their order, each once; those that follow one another in a blob are one range. */
function chunksTouched(touches: readonly Touch[], layouts: readonly BlobLayout[]): ChunkRange[] {
  const seen = layouts.map(() => new Set<number>());
  const ranges: ChunkRange[] = [];
  for (const { blob, offset, length } of touches) {
    const layout = layouts[blob]!;
    for (const { index } of chunksOver(layout, offset, length)) {
      // What no file of the image has cannot be verified, and nobody asks for it.
      if (seen[blob]!.has(index) || layout.chunkDigest(index) === undefined) continue;
      seen[blob]!.add(index);
      const last = ranges.at(-1);
      if (last?.blob === blob && last.first + last.count === index) last.count++;
      else ranges.push({ blob, first: index, count: 1 });
    }
  }
  return ranges;
}
