import { closeSync, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { RafterError } from '../errors.js';
import { attachMount } from './detached-mount.js';
import { errnoName, systemError } from './errno.js';
import { koffi, libc } from './libc.js';

/** Numbers of the system calls, the same on every architecture (Linux 5.2). */
const SYS_FSOPEN = 430;
const SYS_FSCONFIG = 431;
const SYS_FSMOUNT = 432;

/** From the kernel's include/uapi/linux/mount.h. */
const FSOPEN_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;
const MOUNT_ATTR_RDONLY = 1;

/** File system type that /proc/mounts shows. */
export const EROFS_TYPE = 'erofs';

/** Longest message of the kernel about a failed mount that is shown. */
const MAX_MESSAGE = 512;

export interface ErofsMount {
  /** The bootstrap: a file or a block device, which the kernel keeps open. */
  bootstrap: string;
  /** The decoded blobs, in the order of the blob table: all files, or all block devices; paths of at most 255 bytes. */
  devices: readonly string[];
  /** Existing directory. */
  target: string;
}

/** Thrown by `mountErofs` for files where the kernel takes EROFS only from block devices. Its code is UNSUPPORTED. */
export class NeedsBlockDevices extends RafterError {}

/**
 * Mounts an EROFS image whose metadata and data are files (Linux 6.12 or later) or block devices (5.16). Data goes from the
 * devices into the page cache of the mount only, not into that of the devices as well, where the kernel can do that.
 *
 * By fsopen(2) and its family: mount(2) takes one page of options, too little for many blobs. Opening a device may wait
 * for this very process (a FUSE file), so that part runs on another thread.
 * Throws UNSUPPORTED (no EROFS), NeedsBlockDevices, DENIED, or FAILED with what the kernel says.
 */
export async function mountErofs({ bootstrap, devices, target }: ErofsMount): Promise<void> {
  const what = `mount erofs at ${target}`;
  const calls = bind();
  const fs = Number(calls.fsopen(SYS_FSOPEN, EROFS_TYPE, FSOPEN_CLOEXEC));
  if (fs < 0) throw failure('open erofs');
  try {
    const set = (key: string, value: string | null) =>
      Number(
        calls.fsconfig(
          SYS_FSCONFIG,
          fs,
          value === null ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING,
          key,
          value,
          0,
        ),
      );
    if (set('source', bootstrap) < 0) throw failure(what, fs);
    if (set('ro', null) < 0) throw failure(what, fs);
    for (const device of devices)
      if (set('device', device) < 0) throw failure(`${what}, device ${device}`, fs);
    // For files. Kernels before 6.15 do not know it; pages are then held twice.
    set('directio', null);
    drainMessages(fs);
    const created = await calls.create(SYS_FSCONFIG, fs, FSCONFIG_CMD_CREATE, null, null, 0);
    if (created.result < 0) throw failure(what, fs, created.errno);
    const mount = Number(calls.fsmount(SYS_FSMOUNT, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
    if (mount < 0) throw failure(what, fs);
    try {
      attachMount(mount, target);
    } finally {
      closeSync(mount);
    }
  } finally {
    closeSync(fs);
  }
}

function failure(what: string, fs?: number, errno = libc().errno()) {
  const said = fs === undefined ? '' : drainMessages(fs);
  if (errnoName(errno) === 'ENOTBLK')
    return new NeedsBlockDevices('UNSUPPORTED', 'cannot mount erofs of files: ENOTBLK', {
      hint: 'EROFS of files needs Linux 6.12, and a data root that is not on a tmpfs',
    });
  return systemError(errno, said === '' ? what : `${what} (${said}: ${errnoName(errno)})`, {
    ENODEV: "the kernel has no EROFS: try 'modprobe erofs'",
  });
}

/** What the kernel has to say about this mount: one message for each read(2), until there is none. */
function drainMessages(fs: number): string {
  const buffer = Buffer.alloc(MAX_MESSAGE);
  const messages: string[] = [];
  try {
    for (;;) {
      const length = readSync(fs, buffer);
      if (length <= 0) break;
      messages.push(
        buffer
          .toString('latin1', 0, length)
          .trim()
          .replace(/^[eiw] /, ''),
      );
    }
  } catch {
    // ENODATA: no more.
  }
  return messages.join('; ');
}

interface Calls {
  fsopen(number: number, type: string, flags: number): number;
  fsconfig(
    number: number,
    fs: number,
    command: number,
    key: string,
    value: string | null,
    aux: number,
  ): number;
  create(
    number: number,
    fs: number,
    command: number,
    key: null,
    value: null,
    aux: number,
  ): Promise<{ result: number; errno: number }>;
  fsmount(number: number, fs: number, flags: number, attributes: number): number;
}

let calls: Calls | undefined;

function bind(): Calls {
  if (calls !== undefined) return calls;
  const library = koffi().load('libc.so.6');
  const config = library.func('syscall', 'int64_t', [
    'int64_t',
    'int',
    'uint',
    'const char *',
    'const char *',
    'int',
  ]);
  const createAsync = promisify(
    (...args: [...unknown[], (error: unknown, value: { result: number; errno: number }) => void]) => {
      const done = args.pop() as (error: unknown, value: { result: number; errno: number }) => void;
      config.async(...args, (error: unknown, result: number) =>
        done(error, { result: Number(result), errno: koffi().errno() }),
      );
    },
  );
  calls = {
    fsopen: library.func('syscall', 'int64_t', ['int64_t', 'const char *', 'uint']),
    fsconfig: config,
    create: createAsync as unknown as Calls['create'],
    fsmount: library.func('syscall', 'int64_t', ['int64_t', 'int', 'uint', 'uint']),
  };
  return calls;
}
