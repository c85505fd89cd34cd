import type { MountInfo, MountResult } from '../api/api.js';
import type { MountedImage } from '../mounted-image.js';
import type { SavedMount } from './saved-mounts.js';

/** A mount as whoever asked for it is answered. */
export function resultOf({ info, image, steps }: MountedImage): MountResult {
  return { ...info, config: image.config.raw, steps };
}

/** A mount as it is listed, with how much of its data is here. */
export function describeMount({ info, blobs, completion }: MountedImage): MountInfo {
  const extents = blobs.map(({ extent }) => extent);
  const sum = (key: 'bytes' | 'localBytes') => extents.reduce((total, each) => total + each[key], 0);
  const data = { bytes: sum('bytes'), localBytes: sum('localBytes') };
  return { ...info, data, ...(completion && { completion: completion.state }) };
}

/** A mount as a successor of this process has to know it; none if nothing keeps it. `leaving`: it is gone from its place. */
export function savedMounts(
  { info, request, image, active: { handOver }, device }: MountedImage,
  leaving: boolean,
): SavedMount[] {
  return handOver === undefined
    ? []
    : [{ info, request, manifest: image.manifest, handOver, device, leaving }];
}
