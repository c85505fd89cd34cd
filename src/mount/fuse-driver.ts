import { join } from 'node:path';
import type { BlobCache } from '../cache/blob-cache.js';
import { mountOverDevice } from '../fuse/device-mount.js';
import type { DeviceServer } from '../fuse/device-server.js';
import { mountLibfuse } from '../fuse/libfuse.js';
import type { ActiveMount } from './active-mount.js';
import type { DaemonLog } from './daemon-log.js';
import { createFileNames } from './file-names.js';
import { createImageView } from './image-view.js';
import type { NydusImage } from './nydus-image.js';
import { describeView } from './shared-view.js';

/** How the fuse driver speaks to the kernel. */
export type FuseTransport = 'device' | 'libfuse';

/** The transport that this process may use: the device belongs to root. */
export function defaultTransport(): FuseTransport {
  return process.geteuid?.() === 0 ? 'device' : 'libfuse';
}

/** The fuse driver: the daemon serves the whole tree of `image` at `mountpoint`, from the bootstrap. */
export async function mountWithFuse(
  image: NydusImage,
  blobs: readonly BlobCache[],
  {
    mountpoint,
    transport,
    server,
    log,
  }: { mountpoint: string; transport: FuseTransport; server: () => DeviceServer; log: DaemonLog },
): Promise<ActiveMount> {
  const fs = createImageView({ bootstrap: image.bootstrap, blobs });
  const report = (operation: string, file: string, error: unknown) =>
    log.error('a reader got EIO', { operation, file, error });
  if (transport === 'libfuse') {
    const onError = (operation: string, path: string, error: unknown) =>
      report(operation, join(mountpoint, path), error);
    return mountLibfuse(fs, mountpoint, { onError });
  }
  const nameOf = createFileNames(image.bootstrap);
  const onError = (operation: string, node: number, error: unknown) =>
    report(operation, join(mountpoint, nameOf(node)), error);
  return mountOverDevice(mountpoint, server(), { fs, spec: describeView(image, blobs), onError });
}
