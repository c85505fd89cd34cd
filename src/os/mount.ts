import { systemError } from './errno.js';
import { libc } from './libc.js';

/** Flag of mount(2), from the kernel's include/uapi/linux/mount.h. */
export const MS_RDONLY = 0x1;

/** Flags of umount2(2). */
const MNT_DETACH = 0x2;
const UMOUNT_NOFOLLOW = 0x8;

/** mount(2) copies at most one page of option text and cuts the rest off without an error. */
const MAX_MOUNT_DATA = 4095;

export interface MountRequest {
  /** Device, directory or, for file systems without one, a name that /proc/mounts shows. */
  source: string;
  /** Existing directory. */
  target: string;
  /** File system type (`overlay`, `erofs`, ...). */
  type: string;
  /** MS_* flags, or-ed. */
  flags?: number;
  /** File system's own options, comma separated: at most 4095 bytes. */
  data?: string;
}

/**
 * mount(2), without mount(8)'s rewriting of options.
 * Throws BUSY, DENIED, NOT_FOUND, UNSUPPORTED (unknown file system) or FAILED, each with the errno's name.
 */
export function mount(request: MountRequest): void {
  const { source, target, type, flags = 0, data = null } = checked(request);
  if (libc().mount(source, target, type, flags, data) !== 0) throw failure(request, libc().errno());
}

/**
 * The same on another thread: the kernel may ask this very process for something meanwhile, if it serves a file system that `request`
 * names.
 */
export async function mountAside(request: MountRequest): Promise<void> {
  const { source, target, type, flags = 0, data = null } = checked(request);
  const { result, errno } = await libc().mountAside(source, target, type, flags, data);
  if (result !== 0) throw failure(request, errno);
}

function checked(request: MountRequest): MountRequest {
  if (Buffer.byteLength(request.data ?? '') > MAX_MOUNT_DATA)
    throw new RangeError(`${actionOf(request)}: options are longer than ${MAX_MOUNT_DATA} bytes`);
  return request;
}

function actionOf({ type, target }: MountRequest): string {
  return `mount ${type} at ${target}`;
}

function failure(request: MountRequest, errno: number) {
  const { type } = request;
  return systemError(errno, actionOf(request), {
    ENODEV: `the kernel has no file system '${type}': try 'modprobe ${type}'`,
  });
}

/**
 * umount2(2). `detach` takes the mount away at once, also when files on it are open; they work until closed. A
 * symbolic link at `target` is not followed.
 * Throws BUSY if something on the mount is in use, DENIED, or FAILED with EINVAL if `target` is not a mount point.
 */
export function unmount(target: string, { detach = false }: { detach?: boolean } = {}): void {
  if (libc().umount2(target, unmountFlags(detach)) !== 0) throw unmountFailure(target, libc().errno());
}

/**
 * The same on another thread: before a file system ends, the kernel waits for everything that it is just reading, which this very
 * process may have to give.
 */
export async function unmountAside(
  target: string,
  { detach = false }: { detach?: boolean } = {},
): Promise<void> {
  const { result, errno } = await libc().umount2Aside(target, unmountFlags(detach));
  if (result !== 0) throw unmountFailure(target, errno);
}

function unmountFlags(detach: boolean): number {
  return UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0);
}

function unmountFailure(target: string, errno: number) {
  return systemError(errno, `unmount ${target}`, {
    EBUSY: `a process has files open or its working directory there: 'fuser -vm ${target}' lists them`,
    EINVAL: 'it is not a mount point',
  });
}
