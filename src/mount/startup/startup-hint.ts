import type { BlobCache } from '../../cache/blob-cache.js';
import { RafterError } from '../../errors.js';
import type { Descriptor } from '../../image/descriptor.js';
import { parseImageManifest } from '../../image/manifest.js';
import { STARTUP_PROFILE } from '../../image/media-types.js';
import { type ImageSource, readSmallBlob } from '../../image/source.js';
import { findProfileLayer, latestProfile } from '../../image/startup-profile.js';
import type { ChunkAddress } from '../../rafs/bootstrap.js';
import { MAX_PROFILE_SIZE, parseProfile, type StartupProfile } from '../../startup/profile.js';
import { MAX_PREFETCH_BYTES } from './prefetch-plan.js';

/** Most bytes of the manifest of a start-up profile. */
const MAX_PROFILE_MANIFEST = 1 << 20;
/** How long a profile may take to come, in milliseconds: later the start is over. */
const PROFILE_PATIENCE_MS = 10_000;

/** The start-up profile of an image, on its way. */
export interface StartupHint {
  /** What is to be fetched first; undefined if there is none that can be used. Never rejects. */
  profile: Promise<StartupProfile | undefined>;
  /** Ends it and waits for that. */
  stop(): Promise<void>;
}

export interface HintOptions {
  source: ImageSource;
  /** The image's own manifest. */
  manifest: Descriptor;
  /** Hears why a profile is not used. */
  onWarning: (error: unknown) => void;
}

/**
 * Asks the source for the start-up profile that is attached to an image, and for nothing if the source knows no such thing. Nobody waits for
 * it, and nothing that goes wrong with it is an error.
 */
export function askForHint({ source, manifest, onWarning }: HintOptions): StartupHint {
  const abort = new AbortController();
  const late = AbortSignal.timeout(PROFILE_PATIENCE_MS);
  const signal = AbortSignal.any([abort.signal, late]);
  const profile = readAttachedProfile(source, manifest, signal).then(
    (found) => found?.profile,
    (error: unknown) => {
      if (!abort.signal.aborted) onWarning(late.aborted ? lateError(source.name) : error);
      return undefined;
    },
  );
  return {
    profile,
    async stop() {
      abort.abort();
      await profile;
    },
  };
}

function lateError(name: string): RafterError {
  return new RafterError(
    'UNAVAILABLE',
    `${name}: no start-up profile within ${PROFILE_PATIENCE_MS / 1000} s`,
  );
}

/** A start-up profile, and the blob that it was read from. */
export interface AttachedProfile {
  profile: StartupProfile;
  layer: Descriptor;
}

/**
 * The start-up profile that counts of those that are attached to the image with the manifest `digest`; undefined if there is none or the source
 * does not know. MALFORMED, UNSUPPORTED or LIMIT_EXCEEDED if it is wrong, and what `source` throws.
 */
export async function readAttachedProfile(
  source: ImageSource,
  { digest: subject }: Descriptor,
  signal: AbortSignal | undefined,
): Promise<AttachedProfile | undefined> {
  const referrers = await source.listReferrers?.(subject, { artifactType: STARTUP_PROFILE, signal });
  const found = latestProfile(referrers ?? []);
  if (found === undefined) return undefined;
  const name = `${source.name}: start-up profile ${found.digest}`;
  if (found.size > MAX_PROFILE_MANIFEST)
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${name}: a manifest of ${found.size} bytes, more than ${MAX_PROFILE_MANIFEST}`,
    );
  const manifest = parseImageManifest(await source.readManifest(found, signal), name, found.mediaType);
  const layer = findProfileLayer(manifest, { name, subject });
  const bytes = await readSmallBlob(source, layer, { limit: MAX_PROFILE_SIZE, signal });
  return { profile: parseProfile(bytes, name), layer };
}

/** A chunk of an image, by its blob's position in the blob table and its own in the chunk map. */
export type HintedChunk = Pick<ChunkAddress, 'blobIndex' | 'chunkIndex'>;

/**
 * The chunks of `profile`, in its order, up to MAX_PREFETCH_BYTES decoded bytes. MALFORMED, before the first of them, if it speaks of blobs
 * or chunks that the image does not have, or of more chunks than a blob has; `blobs` are those of the image, in blob table order.
 */
export function hintedChunks(
  { blobs: ids, chunks }: StartupProfile,
  blobs: readonly Pick<BlobCache, 'layout'>[],
  { maxBytes = MAX_PREFETCH_BYTES } = {},
): Iterable<HintedChunk> {
  const positions = new Map(blobs.map(({ layout }, index) => [layout.id, index]));
  const named = blobs.map(() => 0);
  const addresses = chunks.map(({ blob, first, count }, i) => {
    const id = ids[blob]!;
    const blobIndex = positions.get(id);
    const fault = (what: string) => new RafterError('MALFORMED', `start-up profile: chunks.${i}: ${what}`);
    if (blobIndex === undefined) throw fault(`blob ${id}, which the image has not`);
    const { chunkCount } = blobs[blobIndex]!.layout;
    if (first + count > chunkCount)
      throw fault(`chunk ${first + count - 1} of a blob of ${chunkCount} chunks`);
    named[blobIndex]! += count;
    if (named[blobIndex]! > chunkCount) throw fault(`more chunks than the ${chunkCount} of the blob`);
    return { blobIndex, first, count };
  });
  return bounded(addresses, blobs, maxBytes);
}

function* bounded(
  ranges: readonly { blobIndex: number; first: number; count: number }[],
  blobs: readonly Pick<BlobCache, 'layout'>[],
  maxBytes: number,
): Generator<HintedChunk> {
  let bytes = 0;
  for (const { blobIndex, first, count } of ranges)
    for (let chunkIndex = first; chunkIndex < first + count; chunkIndex++) {
      bytes += blobs[blobIndex]!.layout.chunk(chunkIndex).size;
      if (bytes > maxBytes) return;
      yield { blobIndex, chunkIndex };
    }
}
