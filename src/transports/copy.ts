import pLimit from 'p-limit';
import { HashThread } from '../codec/hash-thread.js';
import { RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import { findManifest } from '../image/find-manifest.js';
import { type Index, MAX_INDEX_ENTRIES, type Manifest, parseManifest } from '../image/manifest.js';
import { isIndexType, isManifestType, isNondistributable } from '../image/media-types.js';
import { isNydusManifest } from '../image/nydus-manifest.js';
import { referredLayers } from '../image/referred-layers.js';
import type { ImageSource } from '../image/source.js';
import type { ImageKind, ImageTarget } from '../image/target.js';

import { copyBlob } from './copy-blob.js';

/** How deep indexes may stand in indexes. */
const MAX_INDEX_DEPTH = 8;
/** Most manifests that one copy takes along: an index of the largest kind and all in it. */
const MAX_MANIFESTS = MAX_INDEX_ENTRIES + 1;
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
}

interface Document {
  descriptor: Descriptor;
  kind: ImageKind;
  bytes: Buffer;
}

/**
 * Copies the image that `source` names, an index with everything below it, byte for byte to `target`, and commits it there. Blobs
 * that the target has are not sent; layers that a Nydus image only refers to go along. On any error the target is aborted, so that nothing appears.
 */
export async function copyImage(
  source: ImageSource,
  target: ImageTarget,
  options: CopyOptions = {},
): Promise<CopySummary> {
  try {
    const top = await choose(source, await source.resolve(options.signal), options);
    const { documents, ...counts } = await copyAll(source, target, [top], { ...options, tag: top.digest });
    await target.commit();
    const { digest, mediaType } = documents.at(-1)!.descriptor;
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
  const { documents: _, ...counts } = await copyAll(source, target, members, options);
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
  const { name } = source;
  const read = async (descriptor: Descriptor) =>
    parseManifest(
      await source.readManifest(descriptor, signal),
      `${name}: ${descriptor.digest}`,
      descriptor.mediaType || undefined,
    );
  return (await findManifest(top, { name, platform, prefer: 'plain', read })).descriptor;
}

function kindOf(manifest: Manifest | Index): ImageKind {
  if (manifest.kind === 'index') return 'index';
  return isNydusManifest(manifest) ? 'nydus' : 'image';
}

async function copyAll(
  source: ImageSource,
  target: ImageTarget,
  tops: Descriptor[],
  options: CopyOptions & { tag?: Digest },
): Promise<CopyCounts & { documents: Document[] }> {
  return withStop(options.signal, async (stop) => {
    const { signal } = stop;
    const { documents, blobs } = await collect(source, { tops, named: options.tag }, signal);
    if (options.tag !== undefined) target.checkKind?.(documents.at(-1)!.kind);
    const copied = await copyBlobs(source, target, { ...options, blobs, stop });
    // Members before the index that lists them.
    for (const { descriptor, bytes } of documents) {
      await target.putManifest(bytes, descriptor.mediaType, {
        tag: descriptor.digest === options.tag,
        digest: descriptor.digest,
        signal,
      });
    }
    return { documents, manifests: documents.length, ...copied };
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

/**
 * The manifests `tops` and all below them, members before their index, and every blob they refer to, once. `named` is what the
 * reference means, which has to be a manifest; members of an index may be anything.
 */
async function collect(
  source: ImageSource,
  { tops, named }: { tops: Descriptor[]; named: Digest | undefined },
  signal: AbortSignal | undefined,
) {
  const visited = new Set<Digest>();
  const documents = new Map<string, Document>();
  const blobs = new Map<string, Descriptor>();
  async function visit(descriptor: Descriptor, depth: number): Promise<void> {
    if (visited.has(descriptor.digest)) return;
    visited.add(descriptor.digest);
    const name = `${source.name}: ${descriptor.digest}`;
    if (depth > MAX_INDEX_DEPTH) {
      throw new RafterError('LIMIT_EXCEEDED', `${name}: indexes stand more than ${MAX_INDEX_DEPTH} deep`);
    }
    if (visited.size > MAX_MANIFESTS) {
      throw new RafterError('LIMIT_EXCEEDED', `${source.name}: more than ${MAX_MANIFESTS} manifests`);
    }
    const bytes = await source.readManifest(descriptor, signal);
    const manifest = parseManifest(bytes, name, descriptor.mediaType || undefined);
    if (manifest.kind === 'index') {
      for (const member of manifest.manifests) await visitMember(member, depth + 1);
    } else {
      addBlob(manifest.config);
      for (const layer of manifest.layers) addBlob(layer);
      for (const layer of await referredLayers(source, manifest, signal)) addBlob(layer);
    }
    const { mediaType } = manifest;
    documents.set(descriptor.digest, {
      descriptor: { ...descriptor, mediaType },
      kind: kindOf(manifest),
      bytes,
    });
  }
  async function visitMember(member: Descriptor, depth: number): Promise<void> {
    if (isManifestType(member.mediaType) || isIndexType(member.mediaType)) await visit(member, depth);
    else addBlob(member);
  }
  function addBlob(blob: Descriptor): void {
    if (isNondistributable(blob.mediaType)) return;
    blobs.set(blob.digest, blob);
  }
  for (const top of tops) await (top.digest === named ? visit(top, 0) : visitMember(top, 0));
  return { documents: [...documents.values()], blobs: [...blobs.values()] };
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
  let thread: HashThread | undefined;
  const hashThread = () => {
    thread ??= new HashThread();
    return thread;
  };
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
    if (await copyBlob(source, target, blob, { signal, onBytes, hashThread })) {
      summary.copiedBlobs++;
      summary.copiedBytes += blob.size;
    } else {
      summary.skippedBlobs++;
      summary.skippedBytes += blob.size;
    }
    advance(blob.size - sent);
  };
  const limit = pLimit(jobs);
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
  await thread?.close();
  if (failure !== undefined) throw failure;
  return summary;
}
