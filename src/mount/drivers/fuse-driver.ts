import { join } from 'node:path';
import type { BlobCache } from '../../cache/blob-cache.js';
import { RafterError } from '../../errors.js';
import { type DeviceMount, mountOverDevice, resumeOverDevice } from '../../fuse/device-mount.js';
import type { DeviceServer, ServeOptions } from '../../fuse/device-server.js';
import type { FileSystem } from '../../fuse/file-system.js';
import { mountLibfuse } from '../../fuse/libfuse.js';
import type { DaemonLog } from '../daemon-log.js';
import { type NydusImage, treeOf } from '../image/nydus-image.js';
import type { Meters } from '../meters.js';
import type { SupervisorLink } from '../supervisor/supervisor-link.js';
import { tracedReader } from '../trace/trace-reader.js';
import type { ActiveMount, HandOver, Serving } from './active-mount.js';
import { createFileNames } from './file-names.js';
import { createImageView } from './image-view.js';
import { describeView } from './shared-view.js';

/** How the fuse driver speaks to the kernel. */
export type FuseTransport = 'device' | 'libfuse';

/** The transport that this process may use: the device belongs to root. */
export function defaultTransport(): FuseTransport {
  return process.geteuid?.() === 0 ? 'device' : 'libfuse';
}

/** What mounting with the fuse driver needs of the daemon. */
interface FuseDriverServices {
  server: () => DeviceServer;
  log: DaemonLog;
  supervisor: SupervisorLink;
  meters: Meters;
}

/** Where one mount is, and how it is served. */
interface FusePlace extends Serving {
  mountpoint: string;
  services: FuseDriverServices;
}

/** The fuse driver: the daemon serves the whole tree of `image` at `mountpoint`, from the bootstrap. */
export async function mountWithFuse(
  image: NydusImage,
  blobs: readonly BlobCache[],
  where: FusePlace & { id: string; transport: FuseTransport },
): Promise<ActiveMount> {
  const { id, mountpoint, transport, services } = where;
  if (transport === 'device') {
    const options = deviceOptions(image, blobs, where);
    const mount = mountOverDevice(mountpoint, services.server(), options);
    const active = handedOver(id, mount, services.supervisor);
    // Only a mount whose descriptor is held survives this process: nobody may begin to use it before.
    await services.supervisor.keep(descriptorName(id), mount.connection.fd);
    return active;
  }
  const onError = (operation: string, path: string, error: unknown) =>
    services.log.error('a reader got EIO', { operation, file: join(mountpoint, path), error });
  const view = viewOf(image, blobs, where);
  const read: typeof view.read = (...what) => services.meters.measureRead(view.read(...what));
  return mountLibfuse({ ...view, read }, mountpoint, { onError });
}

/** Goes on with a mount of another daemon. Throws FAILED if its descriptor was not kept. */
export function resumeWithFuse(
  image: NydusImage,
  blobs: readonly BlobCache[],
  where: FusePlace & { id: string; handOver: Extract<HandOver, { driver: 'fuse' }> },
): ActiveMount {
  const { id, mountpoint, handOver, services } = where;
  const fd = services.supervisor.inheritance.descriptors[handOver.descriptor];
  if (fd === undefined) throw new RafterError('FAILED', `the descriptor of ${mountpoint} was not kept`);
  const use = { server: services.server(), options: deviceOptions(image, blobs, where) };
  const mount = resumeOverDevice({ fd, negotiated: handOver.negotiated }, mountpoint, use);
  return handedOver(id, mount, services.supervisor);
}

function deviceOptions(image: NydusImage, blobs: readonly BlobCache[], place: FusePlace): ServeOptions {
  const { mountpoint, trace, services } = place;
  const nameOf = createFileNames(treeOf(image).bootstrap);
  return {
    fs: viewOf(image, blobs, place),
    spec: describeView(image, blobs, trace?.shared),
    measure: services.meters.measureRead,
    onError: (operation, node, error) =>
      services.log.error('a reader got EIO', { operation, file: join(mountpoint, nameOf(node)), error }),
  };
}

/** The tree of `image` as this thread serves it. */
function viewOf(
  image: NydusImage,
  blobs: readonly BlobCache[],
  { readTimeout, trace: memory }: Serving,
): FileSystem {
  const readers = blobs.map((reader, blob) => tracedReader(reader, memory && { memory, blob }));
  return createImageView({ bootstrap: treeOf(image).bootstrap, blobs: readers, readTimeout });
}

/** Name under which the supervisor keeps the descriptor of mount `id`. */
export function descriptorName(id: string): string {
  return `fuse ${id}`;
}

/** What a successor needs of a mount; when the mount has ended, its descriptor need not be kept any more. */
function handedOver(id: string, mount: DeviceMount, supervisor: SupervisorLink): ActiveMount {
  const descriptor = descriptorName(id);
  const { negotiated } = mount.connection;
  mount.ended.then(() => supervisor.drop(descriptor));
  return { ...mount, handOver: { driver: 'fuse', descriptor, negotiated } };
}
