import pLimit from 'p-limit';
import { isRafterError, messageOf, RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import type { FoundManifest } from '../image/find-manifest.js';
import { isNondistributable } from '../image/media-types.js';
import { findBootstrapLayer } from '../image/nydus-manifest.js';
import { findManifestOf } from '../image/read-manifest.js';
import { referredLayers } from '../image/referred-layers.js';
import type { ImageSource } from '../image/source.js';
import { findStartupLayer } from '../image/startup-layer.js';
import { type OpenImage, openManifest } from '../inspect/open-image.js';
import { listedChunks } from '../mount/startup/prefetch-plan.js';
import { readAttachedProfile } from '../mount/startup/startup-hint.js';

/** Blobs on their way at the same time. Dragonfly itself fetches several pieces of each. */
const BLOBS_AT_A_TIME = 4;

export interface PreheatOptions {
  /** `linux/arm64`; which image of an index. Default: this machine's. */
  platform?: string | undefined;
  /** All blobs of the image, instead of what a start needs. */
  all?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Hears how far it is, in bytes of blobs. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

/** What was read. */
export interface Preheated {
  reference: string;
  /** Of the image's manifest. */
  digest: Digest;
  blobs: { digest: Digest; size: number }[];
  /** Of all of them, in bytes. */
  bytes: number;
  /** What the user should know, one sentence each. */
  warnings: string[];
}

/**
 * Reads the blobs of a Nydus image whole, checks them and keeps nothing: what `source` reads through has them then. For a start that is
 * configuration, bootstrap and the start-up pack or, where there is none, the blobs that the image's prefetch table leads to and those that
 * an attached start-up profile names, which may be wrong: ranges of a blob Dragonfly does not pass on between its peers.
 * Throws UNSUPPORTED for another kind of image, DIGEST_MISMATCH and TRUNCATED for a blob that is not what it should be, and what
 * `source` throws.
 */
export async function preheatImage(source: ImageSource, options: PreheatOptions = {}): Promise<Preheated> {
  const { signal, all = false, onProgress } = options;
  const { name } = source;
  const found = await findManifestOf(source, await source.resolve(signal), options);
  const { descriptor, manifest } = found;
  // Refuses what is no Nydus image.
  const bootstrap = findBootstrapLayer(manifest, name);
  const warnings: string[] = [];
  const data = all
    ? [...manifest.layers, ...(await referredLayers(source, manifest, signal))]
    : await startupBlobs(source, found, { signal, warnings });
  const blobs = distinct([manifest.config, bootstrap, ...data]);
  const total = blobs.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  await readAll(source, blobs, {
    signal,
    onBytes(count) {
      done += count;
      onProgress?.({ done, total });
    },
  });
  return {
    reference: name,
    digest: descriptor.digest,
    blobs: blobs.map(({ digest, size }) => ({ digest, size })),
    bytes: total,
    warnings,
  };
}

interface StartupOptions {
  signal: AbortSignal | undefined;
  warnings: string[];
}

/** The blobs that a mount of the image asks for before anybody reads a file. */
async function startupBlobs(
  source: ImageSource,
  found: FoundManifest,
  options: StartupOptions,
): Promise<Descriptor[]> {
  const pack = findStartupLayer(found.manifest, source.name);
  if (pack !== undefined) return [pack.descriptor];
  const image = await openManifest(source, found, options.signal);
  const listed = new Set<number>();
  for (const { blobIndex } of listedChunks(image.bootstrap)) listed.add(blobIndex);
  return [
    ...(await profileBlobs(image, options)),
    ...[...listed].map((index) => image.descriptorOf(image.bootstrap.blobs[index]!)),
  ];
}

/** The blobs with the chunks that an attached profile names, and the one that it is itself. None, with a warning, if it is wrong. */
async function profileBlobs(
  { source, descriptor, bootstrap, descriptorOf }: OpenImage,
  { signal, warnings }: StartupOptions,
): Promise<Descriptor[]> {
  const unused = (why: string) => {
    warnings.push(`the start-up profile that is attached to the image is not used: ${why}`);
    return [];
  };
  try {
    const attached = await readAttachedProfile(source, descriptor, signal);
    if (attached === undefined) return [];
    const { profile, layer } = attached;
    const ids = new Set(profile.chunks.map(({ blob }) => profile.blobs[blob]!));
    const blobs = bootstrap.blobs.filter(({ id }) => ids.has(id));
    if (blobs.length < ids.size) return unused('it names blobs that the image has not');
    // One that stands in its manifest nobody asks for.
    return [...blobs.map(descriptorOf), ...(layer.data === undefined ? [layer] : [])];
  } catch (error) {
    if (!isRafterError(error) || error.code === 'INTERRUPTED') throw error;
    return unused(messageOf(error));
  }
}

function distinct(blobs: Descriptor[]): Descriptor[] {
  const known = new Map(
    blobs.filter(({ mediaType }) => !isNondistributable(mediaType)).map((one) => [one.digest, one]),
  );
  return [...known.values()];
}

/** Ends with the first error, when no blob is on its way any more. */
async function readAll(
  source: ImageSource,
  blobs: Descriptor[],
  { signal, onBytes }: { signal: AbortSignal | undefined; onBytes: (count: number) => void },
): Promise<void> {
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const limit = pLimit(BLOBS_AT_A_TIME);
  let failure: unknown;
  const readOne = async (blob: Descriptor) => {
    if (failure !== undefined) return;
    try {
      // The most urgent: then it is the seed peers that fetch what nobody has.
      const bytes = await source.openBlob(blob, either, { urgency: 'demand' });
      for await (const piece of bytes as AsyncIterable<Buffer>) onBytes(piece.length);
    } catch (error) {
      failure ??= error;
      stop.abort();
    }
  };
  await Promise.all(blobs.map((blob) => limit(readOne, blob)));
  if (failure !== undefined) throw failure;
}

/** Where the bytes of blobs came from while an image was preheated. */
export interface PreheatTraffic {
  /** From a peer that said that it had the blob. */
  present: number;
  /** From a peer that had to fetch them, from other peers or from the registry: which, it does not say. */
  brought: number;
  /** Past the peer. */
  registry: number;
}

/** UNAVAILABLE if bytes came past the peer, which then does not have them. */
export function requirePeer(peer: string, { registry }: PreheatTraffic): void {
  if (registry === 0) return;
  throw new RafterError(
    'UNAVAILABLE',
    `the Dragonfly peer ${peer} did not serve ${registry} bytes, which came from the registry itself`,
    { hint: 'see whether dfdaemon runs there, and whether it reaches the registry' },
  );
}
