import pLimit from 'p-limit';
import { askingOthers } from '../image/asking-others.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import { findManifestOf } from '../image/read-manifest.js';
import type { ImageSource } from '../image/source.js';
import type { ImageTarget } from '../image/target.js';
import { collector, type Document } from './collect.js';
import { copyBlob } from './copy-blob.js';
import { collectReferrers, type ReferrersWanted } from './copy-referrers.js';

const DEFAULT_JOBS = 4;

/** How far a copy is, in bytes of blobs; what the target has counts as done. */
interface CopyProgress {
  done: number;
  total: number;
}

export interface CopyOptions {
  /** `linux/arm64`: takes of an index only the manifest for this platform, the ordinary one if there are several. Default: everything. */
  platform?: string | undefined;
  /** Blobs on their way at the same time. Default 4. */
  jobs?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

export interface CopyImageOptions extends CopyOptions {
  /**
   * What of that which refers to the image goes along: the start-up profile that counts, of each Nydus image that asks for one, or
   * everything, such as signatures and lists of packages. Default `profile`.
   */
  referrers?: ReferrersWanted | undefined;
}

/** What was copied. Sizes in bytes; blobs that the target had are skipped. */
interface CopyCounts {
  manifests: number;
  copiedBlobs: number;
  copiedBytes: number;
  skippedBlobs: number;
  skippedBytes: number;
}

/** What a copy did. */
export interface CopySummary extends CopyCounts {
  /** Of the manifest or index that the target now names. */
  digest: Digest;
  mediaType: string;
  /** How many of the manifests refer to what was to be copied. */
  referrers: number;
}

/**
 * Copies the image that `source` names, an index with everything below it, byte for byte to `target`, and commits it there. Blobs
 * that the target has are not sent; layers that a Nydus image only refers to go along, and of what refers to it what is wanted. On any
 * error the target is aborted, so that nothing appears. UNSUPPORTED for what the target cannot hold.
 */
export async function copyImage(
  source: ImageSource,
  target: ImageTarget,
  options: CopyImageOptions = {},
): Promise<CopySummary> {
  try {
    const { referrers = 'profile' } = options;
    const top = await choose(source, await source.resolve(options.signal), options);
    const { documents, ...counts } = await copyAll(source, target, [top], {
      ...options,
      named: { digest: top.digest, referrers },
    });
    await target.commit();
    const { digest, mediaType } = documents.find(
      ({ descriptor }) => descriptor.digest === top.digest,
    )!.descriptor;
    return { digest, mediaType, ...counts };
  } catch (error) {
    await target.abort();
    throw error;
  }
}

/**
 * Copies manifests or indexes, with everything below them, byte for byte, so that an index at `target` can list them. Blobs that the target
 * has are not sent. Nothing is tagged, committed or aborted.
 */
export async function copyMembers(
  source: ImageSource,
  target: ImageTarget,
  members: Descriptor[],
  options: CopyOptions = {},
): Promise<CopyCounts> {
  const { documents: _, referrers: __, ...counts } = await copyAll(source, target, members, options);
  return counts;
}

/**
 * Copies those of `blobs` that the target does not have, so that a manifest there can refer to all of them. Nothing is committed or
 * aborted.
 */
export async function copyMissingBlobs(
  source: ImageSource,
  target: ImageTarget,
  blobs: Descriptor[],
  options: CopyOptions = {},
): Promise<Omit<CopyCounts, 'manifests'>> {
  return withStop(options.signal, (stop) => copyBlobs(source, target, { ...options, blobs, stop }));
}

/** What of an index is to be copied. */
async function choose(
  source: ImageSource,
  top: Descriptor,
  { platform, signal }: CopyOptions,
): Promise<Descriptor> {
  if (platform === undefined) return top;
  return (await findManifestOf(source, top, { platform, prefer: 'plain', signal })).descriptor;
}

interface CopyAllOptions extends CopyOptions {
  /** The one of them that the target's reference is to name, and what of its referrers goes along. */
  named?: { digest: Digest; referrers: ReferrersWanted };
}

async function copyAll(
  source: ImageSource,
  target: ImageTarget,
  tops: Descriptor[],
  options: CopyAllOptions,
): Promise<CopyCounts & { documents: readonly Document[]; referrers: number }> {
  const { named } = options;
  return withStop(options.signal, async (stop) => {
    const { signal } = stop;
    const found = collector(source, signal);
    for (const top of tops) await (top.digest === named?.digest ? found.addNamed(top) : found.addMember(top));
    const own = found.documents.length;
    if (named !== undefined) {
      target.checkKind?.(found.documents.at(-1)!.kind);
      await collectReferrers(source, found, { wanted: named.referrers, signal });
    }
    const { documents, blobs } = found;
    const referrers = documents.length - own;
    if (referrers > 0) target.checkKind?.('referrer');
    const copied = await copyBlobs(source, target, { ...options, blobs: [...blobs.values()], stop });
    // Members before the index that lists them, and what refers to it last.
    for (const { descriptor, bytes } of documents) {
      await target.putManifest(bytes, descriptor.mediaType, {
        tag: descriptor.digest === named?.digest,
        digest: descriptor.digest,
        signal,
      });
    }
    return { documents, referrers, manifests: documents.length, ...copied };
  });
}

/** Runs `work`, which is stopped by `signal` and can stop itself: blobs under way, when one fails. */
async function withStop<T>(
  signal: AbortSignal | undefined,
  work: (stop: AbortController) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const forward = () => stop.abort(signal?.reason);
  if (signal?.aborted) forward();
  else signal?.addEventListener('abort', forward, { once: true });
  try {
    return await work(stop);
  } finally {
    signal?.removeEventListener('abort', forward);
  }
}

async function copyBlobs(
  source: ImageSource,
  target: ImageTarget,
  options: CopyOptions & { blobs: Descriptor[]; stop: AbortController },
): Promise<Omit<CopyCounts, 'manifests'>> {
  const { blobs, jobs = DEFAULT_JOBS, onProgress, stop } = options;
  const { signal } = stop;
  const summary = { copiedBlobs: 0, copiedBytes: 0, skippedBlobs: 0, skippedBytes: 0 };
  const total = blobs.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  const advance = (bytes: number) => {
    done += bytes;
    onProgress?.({ done, total });
  };
  const limit = pLimit(jobs);
  const copyOne = async (blob: Descriptor) => {
    if (await target.hasBlob(blob, signal)) {
      summary.skippedBlobs++;
      summary.skippedBytes += blob.size;
      advance(blob.size);
      return;
    }
    let sent = 0;
    const onBytes = (count: number) => {
      sent += count;
      advance(count);
    };
    const takeBack = () => {
      advance(-sent);
      sent = 0;
    };
    if (await askingOthers(() => copyBlob(source, target, blob, { signal, onBytes }), takeBack)) {
      summary.copiedBlobs++;
      summary.copiedBytes += blob.size;
    } else {
      summary.skippedBlobs++;
      summary.skippedBytes += blob.size;
    }
    advance(blob.size - sent);
  };
  let failure: unknown;
  await Promise.all(
    blobs.map((blob) =>
      limit(async () => {
        if (failure !== undefined) return;
        try {
          await copyOne(blob);
        } catch (error) {
          failure ??= error;
          stop.abort(error);
        }
      }),
    ),
  );
  if (failure !== undefined) throw failure;
  return summary;
}
