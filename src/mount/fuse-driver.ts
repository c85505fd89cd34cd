import { join } from 'node:path';
import type { BlobCache } from '../cache/blob-cache.js';
import { mountOverDevice } from '../fuse/device-mount.js';
import { DeviceServer } from '../fuse/device-server.js';
import type { FuseMount } from '../fuse/fuse-mount.js';
import { mountLibfuse } from '../fuse/libfuse.js';
import type { DaemonLog } from './daemon-log.js';
import { createFileNames } from './file-names.js';
import { createImageView } from './image-view.js';
import type { NydusImage } from './nydus-image.js';
import { describeView } from './shared-view.js';

/** How the fuse driver speaks to the kernel. */
export type FuseTransport = 'device' | 'libfuse';

/** The fuse driver: the daemon serves the whole tree from the bootstrap. */
export interface FuseDriver {
  mount(
    image: NydusImage,
    blobs: readonly BlobCache[],
    where: { mountpoint: string; transport: FuseTransport },
  ): Promise<FuseMount>;
  /** Ends the reading thread, if there is one. Everything must be unmounted. */
  close(): Promise<void>;
}

/** The transport that this process may use: the device belongs to root. */
export function defaultTransport(): FuseTransport {
  return process.geteuid?.() === 0 ? 'device' : 'libfuse';
}

/** `onFailed` is told if the reading thread dies: its mounts are not served any more. */
export function createFuseDriver(log: DaemonLog, onFailed: (error: Error) => void): FuseDriver {
  let server: DeviceServer | undefined;
  const startServer = () => {
    server ??= new DeviceServer(new URL('./fuse-reader.js', import.meta.url), onFailed);
    return server;
  };
  return {
    async mount(image, blobs, { mountpoint, transport }) {
      const fs = createImageView({ bootstrap: image.bootstrap, blobs });
      if (transport === 'libfuse') {
        const onError = (operation: string, path: string, error: unknown) =>
          log.error('a reader got EIO', { operation, file: join(mountpoint, path), error });
        return mountLibfuse(fs, mountpoint, { onError });
      }
      const nameOf = createFileNames(image.bootstrap);
      const onError = (operation: string, node: number, error: unknown) =>
        log.error('a reader got EIO', { operation, file: join(mountpoint, nameOf(node)), error });
      const spec = describeView(image, blobs);
      return mountOverDevice(mountpoint, startServer(), { fs, spec, onError });
    },

    async close() {
      await server?.close();
    },
  };
}
