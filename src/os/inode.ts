import { systemError } from './errno.js';
import { libc } from './libc.js';

/** utimensat(2): a relative path counts from the working directory; a symlink itself is meant, not its target. */
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

const END = Buffer.of(0);

/** Sets an extended attribute of what is at `path`, of a symlink itself. Throws with the errno's name. */
export function setXattr(path: Buffer, name: Buffer, value: Buffer): void {
  const result = libc().lsetxattr(zeroEnded(path), zeroEnded(name), value, value.length, 0);
  if (result !== 0)
    throw systemError(libc().errno(), `set the extended attribute ${name}`, {
      EOPNOTSUPP: 'the file system there has no such extended attributes',
    });
}

/** Sets access and modification time of what is at `path`, of a symlink itself. Seconds since 1970 may be negative. */
export function setTime(
  path: Buffer,
  { seconds, nanoseconds }: { seconds: number; nanoseconds: number },
): void {
  const times = Buffer.alloc(32);
  for (const at of [0, 16]) {
    times.writeBigInt64LE(BigInt(seconds), at);
    times.writeBigInt64LE(BigInt(nanoseconds), at + 8);
  }
  if (libc().utimensat(AT_FDCWD, zeroEnded(path), times, AT_SYMLINK_NOFOLLOW) !== 0)
    throw systemError(libc().errno(), 'set the time');
}

/** mknod(2): makes a device, fifo or socket. `mode` has the type bits; the umask takes permission bits away. */
export function makeNode(path: Buffer, mode: number, device: { major: number; minor: number }): void {
  if (libc().mknod(zeroEnded(path), mode, deviceNumber(device)) !== 0)
    throw systemError(libc().errno(), 'make the device');
}

/** Waits until everything that was written to the file system of the open file `fd` is on its disk. */
export function syncFileSystem(fd: number): void {
  if (libc().syncfs(fd) !== 0) throw systemError(libc().errno(), 'write to the disk');
}

/** dev_t as glibc's makedev(3) makes it; both numbers within 20 bits. */
function deviceNumber({ major, minor }: { major: number; minor: number }): number {
  const low = (major & 0xfff) * 0x100 + (minor & 0xff);
  return low + (minor - (minor & 0xff)) * 0x1000 + (major - (major & 0xfff)) * 2 ** 32;
}

function zeroEnded(text: Buffer): Buffer {
  return Buffer.concat([text, END]);
}
