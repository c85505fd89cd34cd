import { systemError } from './errno.js';
import { koffi, libc } from './libc.js';

/**
 * Replaces this process by `program` (a path) with `args`: same process id, environment, standard descriptors (execv(2)).
 * Does not return; throws with the errno's name if that cannot be.
 */
export function replaceProcess(program: string, args: readonly string[]): never {
  const execv = koffi().load('libc.so.6').func('execv', 'int', ['str', 'str *']);
  execv(program, [program, ...args, null]);
  throw systemError(libc().errno(), `run ${program}`);
}
