import { type FuseConnection, mountDevice } from './device.js';
import type { DeviceServer, ServeOptions } from './device-server.js';
import type { FuseMount } from './fuse-mount.js';
import { resendRequests } from './resend.js';
import { unmountFuse } from './unmount.js';

/** A mount through /dev/fuse itself. */
export interface DeviceMount extends FuseMount {
  readonly connection: FuseConnection;
  /** Tells the reading thread's file system something new. */
  update(update: unknown): void;
}

/**
 * Mounts a file system at `mountPoint`, an existing directory, and serves it with `server`: the transport for root. Requests
 * of up to 1 MiB, directories with attributes, and what `options.spec` describes without passing the main thread.
 * Throws UNSUPPORTED, DENIED, BUSY, NOT_FOUND or FAILED; then nothing is mounted.
 */
export function mountOverDevice(
  mountPoint: string,
  server: DeviceServer,
  options: ServeOptions,
): DeviceMount {
  return serveMounted(mountDevice(mountPoint, options), mountPoint, { server, options });
}

/**
 * Goes on serving a mount that another process served, whose descriptor this one has: requests that were read and not
 * answered are sent again.
 */
export function resumeOverDevice(
  connection: FuseConnection,
  mountPoint: string,
  use: { server: DeviceServer; options: ServeOptions },
): DeviceMount {
  const mount = serveMounted(connection, mountPoint, use);
  if (connection.negotiated.resend) resendRequests(connection.fd);
  return mount;
}

function serveMounted(
  connection: FuseConnection,
  mountPoint: string,
  { server, options }: { server: DeviceServer; options: ServeOptions },
): DeviceMount {
  const { ended, update } = server.serve(connection, options);
  return { mountPoint, connection, ended, update, unmount: (how) => unmountFuse(mountPoint, how) };
}
