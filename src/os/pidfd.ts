import { closeSync } from 'node:fs';
import { systemError } from './errno.js';
import { koffi, libc } from './libc.js';

/** Numbers of the system calls, the same on every architecture (Linux 5.3 and 5.6). */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

/**
 * A descriptor of this process for the very same open file as descriptor `fd` of process `pid` (pidfd_getfd(2)): as if it
 * had been inherited. Needs the right to trace that process. Throws with the errno's name.
 */
export function takeDescriptor(pid: number, fd: number): number {
  const library = koffi().load('libc.so.6');
  const open = library.func('syscall', 'int64_t', ['int64_t', 'int', 'uint']);
  const get = library.func('syscall', 'int64_t', ['int64_t', 'int', 'int', 'uint']);
  const process = Number(open(SYS_PIDFD_OPEN, pid, 0));
  if (process < 0) throw systemError(libc().errno(), `look at process ${pid}`);
  try {
    const taken = Number(get(SYS_PIDFD_GETFD, process, fd, 0));
    if (taken < 0) throw systemError(libc().errno(), `take descriptor ${fd} of process ${pid}`);
    return taken;
  } finally {
    closeSync(process);
  }
}
