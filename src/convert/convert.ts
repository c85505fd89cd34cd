import { PackPool } from '../codec/pack-pool.js';
import { isRafterError, RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import { buildNydusIndex } from '../image/nydus-index.js';
import { formatPlatform, hostPlatform, parsePlatform } from '../image/platform.js';
import { parseReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import type { ImageTarget } from '../image/target.js';
import { copyMembers } from '../transports/copy.js';
import { type ConversionContext, convertOne, type ProgressEvent } from './image-converter.js';
import { LayerCache } from './layer-cache.js';
import { type CheckedOptions, type ConvertOptions, checkOptions } from './options.js';
import type { PlatformChoice } from './select-entries.js';
import { readSource, type Source } from './source-image.js';
import { type ConvertSummary, type ImageSummary, startClock, sumUp } from './summary.js';

export interface ConvertRequest {
  source: ImageSource;
  target: ImageTarget;
  /** The source as the user named it; goes into an annotation unless it is a directory or file of this machine. */
  sourceReference: string;
  /** `linux/arm64`, ...: which images of an index; or `all` that are for Linux. Default: that of this machine. */
  platforms?: string[] | 'all';
  /** Makes each image a referrer of its source (member `subject` of its manifest). */
  withReferrer?: boolean;
  /** Lists the source's images in the target too, in front of the Nydus images. */
  mergeIndex?: boolean;
  /**
   * Nydus images whose chunks are not stored again: the new image refers to their blobs, which are copied to the target if it lacks
   * them. They are trusted as a base image is. The same images in the same order give the same bytes. Default none.
   */
  dictionaries?: readonly ImageSource[];
  /**
   * Directory with records of the layers that were converted before, to be used and added to. Blobs that an interruption would
   * take away are kept in it, too, for some days or until the conversion has been begun again. Default: none.
   */
  cacheDir?: string | undefined;
  options?: ConvertOptions;
  onProgress?: (event: ProgressEvent) => void;
}

/**
 * Converts an image, or several of an index, to Nydus images (RAFS v6) at the target. One image becomes a plain manifest.
 * Several become an index, as does one that stands beside its source; attestations and other artifacts that the source's
 * index has come along unchanged. The same source and options give the same bytes. After an error or an abort nothing is
 * visible at the target. Throws USAGE for options, UNSUPPORTED for images that cannot be converted, NOT_FOUND for platforms that are
 * not there, INTERRUPTED after an abort, and what source, target, layers (`convertLayer`) and the format throw.
 */
export async function convertImage(request: ConvertRequest): Promise<ConvertSummary> {
  const options = checkOptions(request.options ?? {});
  const choice = choosePlatforms(request.platforms);
  const { target } = request;
  const pool = new PackPool({ threads: options.jobs });
  const cache = request.cacheDir === undefined ? undefined : new LayerCache(request.cacheDir);
  try {
    await cache?.sweep();
    const summary = await convert(request, { options, choice, pool, cache });
    await cache?.blobs.release();
    return summary;
  } catch (error) {
    await target.abort();
    // What is linked would keep the disk full.
    if (isRafterError(error, 'NO_SPACE')) await cache?.blobs.release({ linkedOnly: true });
    if (!options.signal?.aborted) throw error;
    throw new RafterError('INTERRUPTED', `converting ${request.source.name} was interrupted`, {
      cause: error,
      ...(cache && { hint: 'layers that were finished are kept: the same command goes on from there' }),
    });
  } finally {
    await pool.close();
  }
}

/** What `convertImage` makes of its request. */
interface Preparation {
  options: CheckedOptions;
  choice: PlatformChoice;
  pool: PackPool;
  cache: LayerCache | undefined;
}

async function convert(
  request: ConvertRequest,
  { options, choice, pool, cache }: Preparation,
): Promise<ConvertSummary> {
  const { source, target, mergeIndex = false } = request;
  target.checkKind?.('nydus');
  const clock = startClock();
  const from = await readSource(source, choice, options.signal);
  clock.lap('manifest');

  const asIndex = mergeIndex || becomesIndex(from, choice);
  const context: ConversionContext = {
    ...{ source, target, options, pool, clock, mergeIndex, cache },
    sourceReference: publicReference(request.sourceReference),
    withReferrer: request.withReferrer ?? false,
    dictionaries: request.dictionaries ?? [],
    onProgress: request.onProgress,
  };
  const summaries = new Map<Digest, ImageSummary>();
  const converted: { entry: Descriptor; nydus: Descriptor }[] = [];
  for (const image of from.images) {
    const { entry } = image;
    // One manifest may be listed for several platforms.
    const same = converted.find((other) => other.entry.digest === entry.digest);
    if (same !== undefined) {
      converted.push({ entry, nydus: same.nydus });
      continue;
    }
    const label = from.images.length > 1 ? `${formatPlatform(entry.platform!)}: ` : '';
    const { manifest, summary } = await convertOne(context, image, { label, tag: !asIndex });
    converted.push({ entry, nydus: manifest });
    summaries.set(entry.digest, summary);
  }
  const images = [...summaries.values()];
  const named = asIndex ? await storeIndex(context, from, converted) : undefined;
  await target.commit();
  clock.lap('publish');

  const digests = {
    source: images.length > 1 ? from.descriptor.digest : images[0]!.source.digest,
    target: named?.digest ?? images[0]!.target.digest,
  };
  return { ...sumUp(images, digests), images, seconds: clock.seconds() };
}

/** This machine's platform, or those of the user without repetitions. */
function choosePlatforms(platforms: ConvertRequest['platforms']): PlatformChoice {
  if (platforms === 'all') return 'all';
  return platforms === undefined || platforms.length === 0 ? [hostPlatform()] : platforms.map(parsePlatform);
}

/** One image that was asked for stands alone; one that is all of its index but for attestations keeps those, in an index. */
function becomesIndex({ images, carried }: Source, choice: PlatformChoice): boolean {
  return images.length > 1 || (choice === 'all' && carried.length > 0);
}

/** Copies what the index is to list besides the converted images, then stores the index as what the target's reference names. */
async function storeIndex(
  { source, target, options, mergeIndex, onProgress }: ConversionContext,
  { index, carried }: Source,
  converted: { entry: Descriptor; nydus: Descriptor }[],
): Promise<Descriptor> {
  const { signal } = options;
  const unchanged = [...(mergeIndex ? converted.map(({ entry }) => entry) : []), ...carried];
  const label = 'manifests taken over';
  const { copiedBytes, skippedBytes } = await copyMembers(source, target, unchanged, {
    signal,
    onProgress: ({ done, total }) => onProgress?.({ kind: 'progress', label, done, total }),
  });
  const bytes = copiedBytes + skippedBytes;
  if (unchanged.length > 0) onProgress?.({ kind: 'finished', label, done: bytes, total: bytes });
  const built = buildNydusIndex({ source: index, images: converted, carried, merge: mergeIndex });
  return target.putManifest(built.bytes, built.mediaType, { tag: true, signal });
}

/** A directory's name means nothing on another machine and would make the image's bytes depend on it. */
function publicReference(text: string): string | undefined {
  const reference = parseReference(text);
  return reference.transport === 'registry' ? text : undefined;
}
