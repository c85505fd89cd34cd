import { close } from 'node:fs';
import { promisify } from 'node:util';
import { systemError } from './errno.js';
import { koffi, libc } from './libc.js';

/** Numbers of the system calls, the same on every architecture (Linux 5.2). */
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;

/** From the kernel's include/uapi/linux/mount.h and fcntl.h. */
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_FDCWD = -100;
const MOVE_MOUNT_F_EMPTY_PATH = 4;

/**
 * A mount that is at no place: nobody but this process can get at it, and it ends with this process. It keeps its file system
 * alive, with what the kernel has read of it.
 */
export interface DetachedMount {
  /** Mounts it at `target`, an existing directory; once. Throws what `mount` of `mount.ts` throws. */
  attach(target: string): void;
  /**
   * Lets go of it, which ends its file system if it was not attached. On another thread: the kernel may want something of this very
   * process before that.
   */
  close(): Promise<void>;
}

/**
 * Another mount of what is at `path`, which should be a mount point, at no place yet (open_tree(2)). Throws UNSUPPORTED before Linux
 * 5.2, DENIED, NOT_FOUND or FAILED, each with the errno's name.
 */
export function cloneMount(path: string): DetachedMount {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
  const fd = Number(calls().openTree(SYS_OPEN_TREE, AT_FDCWD, path, flags));
  if (fd < 0) throw systemError(libc().errno(), `clone the mount at ${path}`);
  return { attach: (target) => attachMount(fd, target), close: () => promisify(close)(fd) };
}

/** Mounts what the descriptor `fd`, of open_tree(2) or fsmount(2), stands for at `target` (move_mount(2)). Throws as `mount` does. */
export function attachMount(fd: number, target: string): void {
  const { moveMount } = calls();
  const moved = moveMount(SYS_MOVE_MOUNT, fd, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
  if (Number(moved) < 0) throw systemError(libc().errno(), `mount at ${target}`);
}

interface Calls {
  openTree(number: number, directory: number, path: string, flags: number): number;
  moveMount(number: number, from: number, path: string, to: number, target: string, flags: number): number;
}

let bound: Calls | undefined;

function calls(): Calls {
  if (bound !== undefined) return bound;
  const library = koffi().load('libc.so.6');
  const path = 'const char *';
  bound = {
    openTree: library.func('syscall', 'int64_t', ['int64_t', 'int', path, 'uint']),
    moveMount: library.func('syscall', 'int64_t', ['int64_t', 'int', path, 'int', path, 'uint']),
  };
  return bound;
}
