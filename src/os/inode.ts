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

/** A name or value is at most this long, a list of names too (xattr(7)). */
const XATTR_MAX = 64 << 10;

/**
 * All extended attributes of what is at `path`, of a symlink itself, that this user may see. `isServedHere`: this process serves the
 * file, so another thread waits for it. Throws with the errno's name.
 */
export async function readXattrs(
  path: Buffer,
  { isServedHere = false }: { isServedHere?: boolean } = {},
): Promise<{ name: Buffer; value: Buffer }[]> {
  const room = Buffer.alloc(XATTR_MAX);
  const place = zeroEnded(path);
  const { llistxattr, llistxattrAside, lgetxattr, lgetxattrAside, errno: lastErrno } = libc();
  const here = (result: number | bigint) => ({ result: Number(result), errno: lastErrno() });
  const list = isServedHere
    ? await llistxattrAside(place, room, room.length)
    : here(llistxattr(place, room, room.length));
  if (list.result < 0) throw systemError(list.errno, 'list the extended attributes');
  const names = room.toString('latin1', 0, list.result).split('\0').slice(0, -1);
  const xattrs: { name: Buffer; value: Buffer }[] = [];
  for (const text of names) {
    const name = Buffer.from(text, 'latin1');
    const { result, errno } = isServedHere
      ? await lgetxattrAside(place, zeroEnded(name), room, room.length)
      : here(lgetxattr(place, zeroEnded(name), room, room.length));
    if (result < 0) throw systemError(errno, `read the extended attribute ${text}`);
    xattrs.push({ name, value: Buffer.copyBytesFrom(room, 0, result) });
  }
  return xattrs;
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
