import type { BlobCache } from '../cache/blob-cache.js';
import type { MountInfo, MountRequest } from './api/api.js';
import type { ActiveMount, HandOver } from './drivers/active-mount.js';
import type { Drivers } from './drivers/drivers.js';
import { limitReadAhead } from './drivers/read-ahead-limit.js';
import type { NydusImage } from './image/nydus-image.js';
import type { TraceMemory } from './trace/trace-memory.js';
import type { WritableTrees } from './writable-trees.js';

interface Opened {
  image: NydusImage;
  /** In blob table order. */
  blobs: readonly BlobCache[];
  info: MountInfo;
  request: MountRequest;
  /** Where reads are noted, if they are. */
  trace: TraceMemory | undefined;
}

interface Ways {
  drivers: Drivers;
  writable: WritableTrees;
}

/**
 * Mounts an image at the mount point of `info`, with a writable tree over it if that was asked for. Says in `info` what serves it.
 * Throws what the driver or `WritableTrees.mount` throws; nothing is mounted then.
 */
export async function mountTree(
  { image, blobs, info, request, trace }: Opened,
  { drivers, writable }: Ways,
): Promise<ActiveMount> {
  const { id, digest, mountpoint } = info;
  const { driver, transport, backing, readTimeout } = request;
  const mountAt = async (at: string) => {
    const how = { driver, transport, backing, readTimeout, trace, id, mountpoint: at };
    const { active, choice } = await drivers.mount(image, blobs, how);
    Object.assign(info, choice);
    try {
      await limitReadAhead(at, request, info);
    } catch (error) {
      await active.unmount({ detach: true });
      throw error;
    }
    return active;
  };
  if (request.writable === undefined) return mountAt(mountpoint);
  const tree = { id, digest, mountpoint, directory: request.writable.directory };
  const covered = await writable.mount(tree, mountAt);
  info.writable = covered.writable;
  return covered.active;
}

/** Goes on with what `mountTree` of another daemon mounted, `device` being the file system at the mount point. */
export async function resumeTree(
  { image, blobs, info, request, trace }: Opened,
  { drivers, writable }: Ways,
  { handOver, device }: { handOver: HandOver; device: string },
): Promise<ActiveMount> {
  const { id, mountpoint } = info;
  const { readTimeout } = request;
  const at = info.writable === undefined ? mountpoint : await writable.lowerOf(id);
  const active = drivers.resume(image, blobs, { id, mountpoint: at, handOver, readTimeout, trace });
  if (info.writable === undefined) return active;
  return writable.resume({ id, mountpoint, device, ...info.writable }, active);
}
