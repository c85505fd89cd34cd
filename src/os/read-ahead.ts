import { existsSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { errnoOf, messageOf, RafterError } from '../errors.js';
import { libc } from './libc.js';
import { EROFS_TYPE } from './mount-erofs.js';
import { findMount, type MountEntry } from './mountinfo.js';

/** The kernel's objects that hold the read-ahead of mounts and disks (Linux, Documentation/ABI/testing/sysfs-class-bdi). */
const BACKING_DEVICES = '/sys/class/bdi';

/** `FS_IOC_GETFSSYSFSPATH` and its `struct fs_sysfs_path`: a length, then a name (Linux 6.10, include/uapi/linux/fs.h). */
const FS_IOC_GETFSSYSFSPATH = 0x80811501;
const SYSFS_PATH_SIZE = 129;

/**
 * Has the kernel read at most `kib` KiB ahead in the files of the mount at `mountpoint` that are opened from now on; with 0 it
 * reads only the pages that are asked for. Throws DENIED without root, UNSUPPORTED where the kernel does not offer it, FAILED if
 * nothing is mounted there.
 */
export async function setReadAhead(mountpoint: string, kib: number): Promise<void> {
  const found = await findMount(mountpoint);
  if (found === undefined) throw new RafterError('FAILED', `${mountpoint} is not mounted any more`);
  try {
    await writeFile(`${BACKING_DEVICES}/${await backingDeviceOf(found)}/read_ahead_kb`, String(kib));
  } catch (cause) {
    const denied = errnoOf(cause) === 'EACCES' || errnoOf(cause) === 'EPERM';
    const reason = denied ? 'that needs root' : messageOf(cause);
    throw new RafterError(
      denied ? 'DENIED' : 'UNSUPPORTED',
      `the read-ahead of ${mountpoint} cannot be set: ${reason}`,
      { cause },
    );
  }
}

/** Called by the device number; but by a name of its own for EROFS on files, which is also that in /sys/fs/erofs. */
async function backingDeviceOf({ type, device, mountPoint }: MountEntry): Promise<string> {
  // Others would be asked by this very process.
  if (type !== EROFS_TYPE) return device;
  const name = basename(await sysfsPathOf(mountPoint));
  return existsSync(`${BACKING_DEVICES}/${name}`) ? name : device;
}

/** Where the file system is in /sys/fs; empty if the kernel does not tell. */
async function sysfsPathOf(directory: string): Promise<string> {
  const handle = await open(directory, 'r');
  try {
    const path = Buffer.alloc(SYSFS_PATH_SIZE);
    if (libc().ioctl(handle.fd, FS_IOC_GETFSSYSFSPATH, path) < 0) return '';
    return path.toString('latin1', 1, 1 + path[0]!);
  } finally {
    await handle.close();
  }
}
