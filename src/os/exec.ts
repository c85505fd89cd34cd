import { systemError } from './errno.js';
import { koffi, libc } from './libc.js';

/** Command of fcntl(2): sets the flags of a descriptor, of which there is one, FD_CLOEXEC. */
const F_SETFD = 2;
/** Standard input, output and error. */
const STANDARD = [0, 1, 2];

/**
 * Replaces this process by `program` (a path) with `args`: same process id, environment, standard descriptors (execv(2)).
 * Does not return; throws with the errno's name if that cannot be. Of other descriptors it gets those in `keep`. Node.js has marked
 * all of them for closing when it started.
 */
export function replaceProcess(
  program: string,
  args: readonly string[],
  { keep = [] }: { keep?: readonly number[] } = {},
): never {
  for (const fd of [...STANDARD, ...keep]) libc().fcntl(fd, F_SETFD, 0);
  const execv = koffi().load('libc.so.6').func('execv', 'int', ['str', 'str *']);
  execv(program, [program, ...args, null]);
  throw systemError(libc().errno(), `run ${program}`);
}
