import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DeviceMount, mountOverDevice, resumeOverDevice } from '../../fuse/device-mount.js';
import type { DeviceServer } from '../../fuse/device-server.js';
import type { Negotiated } from '../../fuse/init.js';
import { FUSE_TYPE } from '../../fuse/mount-options.js';
import { unmountFuse } from '../../fuse/unmount.js';
import { makeDirectories } from '../../os/make-directories.js';
import { findMount } from '../../os/mountinfo.js';
import type { DaemonLog } from '../daemon-log.js';
import type { Meters } from '../meters.js';
import type { SupervisorLink } from '../supervisor/supervisor-link.js';
import { BlobDirectory } from './blob-directory.js';
import type { ReaderSpec } from './shared-view.js';

/** The one FUSE mount of the node: a directory of the decoded blobs that are not complete on disk. */
export interface BlobService {
  readonly directory: BlobDirectory;
  /** Mounts it if it is not; `forLoops` if loop devices will stand on its files. */
  start(options?: { forLoops?: boolean }): Promise<void>;
  /** What was agreed with the kernel. It must be mounted, or adopted. */
  negotiated(): Negotiated;
  /** Takes over the mount of another daemon; nothing is answered before `resume`. */
  adopt(negotiated: Negotiated): void;
  /** Answers what the kernel has been waiting for, if a mount was adopted; one that nobody needs is taken away. */
  resume(): Promise<void>;
  close(): Promise<void>;
}

export interface BlobServiceOptions {
  server: () => DeviceServer;
  log: DaemonLog;
  supervisor: SupervisorLink;
  meters: Meters;
}

/** Name under which the supervisor keeps the descriptor. */
const DESCRIPTOR = 'blobs';
/** How long the kernel may take to let go of it, in milliseconds. */
const CLOSE_PATIENCE_MS = 1000;

/** The service at `mountpoint`, a directory that is made when it is needed. */
export function createBlobService(
  mountpoint: string,
  { server, log, supervisor, meters }: BlobServiceOptions,
): BlobService {
  let mount: DeviceMount | undefined;
  let adopted: Negotiated | undefined;
  let starting: Promise<void> | undefined;
  /** Before there is a mount nobody has to be told: the reading thread gets what is there when it starts. */
  const waiting: unknown[] = [];
  const directory = new BlobDirectory((update) => {
    if (mount === undefined) waiting.push(update);
    else mount.update(update);
  });
  const spec: ReaderSpec = { kind: 'blobs' };
  const options = {
    fs: directory,
    spec,
    measure: meters.measureRead,
    onError: (operation: string, node: number, error: unknown) =>
      log.error('a reader got EIO', { operation, file: join(mountpoint, directory.nameOf(node)), error }),
  };

  async function started(made: DeviceMount): Promise<void> {
    mount = made;
    for (const update of waiting.splice(0)) made.update(update);
    // Only what is held survives: the kernel must not open a file before.
    await supervisor.keep(DESCRIPTOR, made.connection.fd);
  }

  async function start(parallel: boolean): Promise<void> {
    // A dead daemon's may be there, which nobody can look into any more.
    while ((await findMount(mountpoint))?.type === FUSE_TYPE) await unmountFuse(mountpoint, { detach: true });
    await makeDirectories(mountpoint, 0o700);
    await started(mountOverDevice(mountpoint, server(), { ...options, parallel }));
  }

  return {
    directory,

    start({ forLoops = false } = {}) {
      if (mount !== undefined && starting === undefined) return Promise.resolve();
      starting ??= start(forLoops).finally(() => {
        starting = undefined;
      });
      return starting;
    },

    negotiated() {
      const agreed = mount?.connection.negotiated ?? adopted;
      if (agreed === undefined) throw new Error('the FUSE mount for blobs is not there');
      return agreed;
    },

    adopt(negotiated) {
      adopted = negotiated;
    },

    async resume() {
      const fd = supervisor.inheritance.descriptors[DESCRIPTOR];
      if (fd === undefined) return;
      if (adopted !== undefined) {
        await started(
          resumeOverDevice({ fd, negotiated: adopted }, mountpoint, { server: server(), options }),
        );
        return;
      }
      supervisor.drop(DESCRIPTOR);
      closeSync(fd);
      await unmountFuse(mountpoint, { detach: true }).catch(() => {});
    },

    async close() {
      if (mount === undefined) return;
      await mount.unmount({ detach: true });
      // Images that were taken away while in use still have their blobs open.
      await Promise.race([mount.ended, sleep(CLOSE_PATIENCE_MS, undefined, { ref: false })]);
    },
  };
}
