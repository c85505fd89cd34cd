import type { BlobCache } from '../../cache/blob-cache.js';
import type { Descriptor } from '../../image/descriptor.js';
import type { ImageSource } from '../../image/source.js';
import type { StartupLayer } from '../../image/startup-layer.js';
import type { MountRequest, MountStats } from '../api/api.js';
import type { NydusImage } from '../image/nydus-image.js';
import type { MountServices } from '../mounted-image.js';
import type { MountUndo } from '../open-mount.js';
import { startPrefetch } from './prefetch.js';
import { askForHint, type StartupHint } from './startup-hint.js';
import { StartupPack } from './startup-pack.js';

/** Asks for the start-up pack; what goes wrong with it is in the log, and counted with what else cannot be fetched. */
export function openStartupPack(
  layer: StartupLayer,
  use: { services: MountServices; source: ImageSource; stats: MountStats; mayFetch: boolean },
): StartupPack {
  const { services, source, stats, mayFetch } = use;
  const { store, tempDir, meters, cache, log } = services;
  return new StartupPack({
    ...{ layer, store, source, mayFetch, tempDir },
    onRequest: () => {
      stats.requests++;
      return cache.scheduler.occupy(source.place?.registry, 'startup');
    },
    onBytes: (count) => {
      stats.fetchedBytes += count;
    },
    onWarning: (error) => {
      meters.fetchErrors.note(error);
      log.warn('the image starts without all of its start-up pack', { image: source.name, error });
    },
  });
}

/** Asks for the start-up profile that is attached to an image; why one is not used is in the log. */
export function openStartupHint(
  manifest: Descriptor,
  { services: { log }, source }: { services: MountServices; source: ImageSource },
): StartupHint {
  return askForHint({
    ...{ source, manifest },
    onWarning: (error) =>
      log.warn('a start-up profile that may be attached to the image is not used', {
        image: source.name,
        error,
      }),
  });
}

/** What makes the start of a mount faster. */
export interface AttachedStartup {
  pack: StartupPack | undefined;
  /** True if there is a pack that has something to give. */
  isAttached: boolean;
  /** True while files are fetched ahead. */
  isFetching(): boolean;
}

/**
 * Lets reads be answered from the start-up pack; an image without one has the files fetched ahead that its prefetch table
 * lists, and before them what `hint` says, unless that is not wanted.
 */
export async function attachStartup(
  {
    image,
    blobs,
    pack,
    hint,
  }: {
    image: NydusImage;
    blobs: readonly BlobCache[];
    pack: StartupPack | undefined;
    hint: StartupHint | undefined;
  },
  use: { request: MountRequest; mountpoint: string; services: MountServices; undo: MountUndo },
): Promise<AttachedStartup> {
  const { request, mountpoint, services, undo } = use;
  if (pack !== undefined) return { pack, isAttached: await pack.attach(blobs), isFetching: () => false };
  if (request.prefetch === false) return { pack, isAttached: false, isFetching: () => false };
  const prefetch = startPrefetch(image, blobs, { mountpoint, log: services.log, hint });
  undo.place.push(() => prefetch?.stop());
  return { pack, isAttached: false, isFetching: () => prefetch?.isRunning ?? false };
}
