import { messageOf, RafterError } from '../errors.js';
import { threadEnded } from '../os/thread.js';
import { checkDevice } from './device-file.js';
import type { FileSystem } from './file-system.js';
import type { FuseMount } from './fuse-mount.js';
import { makeHandlers, type Served, unserved } from './libfuse-handlers.js';
import { libfuseOptions } from './mount-options.js';
import { type FuseNativeBinding, loadBinding } from './native-binding.js';
import { isExpectedLayout } from './native-request.js';
import { PathResolver } from './path-resolver.js';
import { unmountFuse } from './unmount.js';

export interface LibfuseOptions {
  /** Told about everything that a reader gets EIO for. */
  onError?: (operation: string, path: string, error: unknown) => void;
}

/** The addon copies the mount point into a C array of 1024 bytes. */
const MAX_MOUNT_POINT = 1023;
/** How long the kernel's first request may take. It is sent by mount(2) itself. */
const INIT_DEADLINE = 10_000;
/** How often to look whether libfuse's thread has ended, in milliseconds: while mounted, and after an unmount. */
const IDLE_POLL = 1000;
const HURRIED_POLL = 10;
/** Where `fuse_thread_t` of the addon keeps its pthread_t. */
const PTHREAD_OFFSET = 8;

/**
 * Mounts `fs` at `mountPoint`, an existing directory, and serves it from this process's main thread, which must never
 * wait for the mount synchronously. Resolves when the kernel has accepted the mount. This is the transport through libfuse 2
 * and fuse-native: for users without root, and for whoever prefers libfuse.
 *
 * What it cannot do: requests are 128 KiB at most and pass the main thread one by one; no readdirplus; hands over
 * nothing when the process dies (readers get ENOTCONN). Each libfuse thread that ever ran leaves about 1 KB behind.
 *
 * Throws UNSUPPORTED (no FUSE on this machine), DENIED, USAGE (path too long) or FAILED.
 */
export async function mountLibfuse(
  fs: FileSystem,
  mountPoint: string,
  options: LibfuseOptions = {},
): Promise<FuseMount> {
  if (Buffer.byteLength(mountPoint) > MAX_MOUNT_POINT)
    throw new RafterError('USAGE', `mount point is longer than ${MAX_MOUNT_POINT} bytes: ${mountPoint}`);
  await checkDevice();
  const binding = loadBinding();
  const thread = Buffer.alloc(binding.sizeof_fuse_thread_t);
  const served: Served = { fs, resolver: new PathResolver(fs), onError: options.onError };
  try {
    await start(binding, served, { mountPoint, thread });
  } catch (cause) {
    if (cause instanceof RafterError) throw cause;
    throw new RafterError('FAILED', `libfuse could not mount at ${mountPoint}: ${messageOf(cause)}`, {
      cause,
      hint: "its reason is on standard error; the daemon's is in its log",
    });
  }
  const watch = watchThread(thread.readBigUInt64LE(PTHREAD_OFFSET));
  let holdsProcess = true;
  const letProcessEnd = () => {
    if (holdsProcess) binding.fuse_native_unmount(mountPoint, thread);
    holdsProcess = false;
  };
  const ended = watch.ended.then(() => {
    letProcessEnd();
    served.fs = undefined;
    served.resolver = undefined;
  });
  const unmount: FuseMount['unmount'] = async (how) => {
    await unmountFuse(mountPoint, how);
    letProcessEnd();
    watch.hurry();
  };
  return { mountPoint, ended, unmount };
}

function start(
  binding: FuseNativeBinding,
  served: Served,
  { mountPoint, thread }: { mountPoint: string; thread: Buffer },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const handlers = makeHandlers(binding, served);
    const deadline = setTimeout(() => {
      unmountFuse(mountPoint, { detach: true }).catch(() => {});
      reject(new Error(`the kernel sent nothing for ${INIT_DEADLINE / 1000} s`));
    }, INIT_DEADLINE);
    handlers[binding.op_init] = (request, operation) => {
      clearTimeout(deadline);
      const known = isExpectedLayout(request, operation);
      if (!known) served.fs = undefined;
      binding.fuse_native_signal_init(request, 0);
      if (known) return resolve();
      unmountFuse(mountPoint, { detach: true }).catch(() => {});
      reject(new RafterError('UNSUPPORTED', 'this build of fuse-native has an unknown request structure'));
    };
    const implemented = Uint32Array.from(handlers, (handler) => (handler === unserved ? 0 : 1));
    const root = process.geteuid?.() === 0;
    try {
      binding.fuse_native_mount(
        mountPoint,
        libfuseOptions({ root }),
        thread,
        { thread },
        (size) => Buffer.alloc(size),
        handlers,
        implemented,
      );
    } catch (error) {
      clearTimeout(deadline);
      reject(error);
    }
  });
}

/** Looks again and again whether a thread has ended; after `hurry`, more often. */
function watchThread(id: bigint): { ended: Promise<void>; hurry(): void } {
  let interval = IDLE_POLL;
  let lookNow: (() => void) | undefined;
  const watch = async () => {
    while (!threadEnded(id))
      await new Promise<void>((resolve) => {
        lookNow = resolve;
        setTimeout(resolve, interval).unref();
      });
  };
  const hurry = () => {
    interval = HURRIED_POLL;
    lookNow?.();
  };
  return { ended: watch(), hurry };
}
