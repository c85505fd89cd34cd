import { fileURLToPath } from 'node:url';
import { runFiles } from '../client/run-dir.js';

/** It is to be small, and has all the time that there is. */
const HEAP_FLAGS = ['--max-semi-space-size=1', '--optimize-for-size'];

/** Program and arguments that run a supervisor for the run directory, which runs `daemon`: program and arguments, too. */
export function supervisorCommand(runDir: string, daemon: readonly string[]): string[] {
  const program = fileURLToPath(new URL('./supervisor-main.js', import.meta.url));
  return [process.execPath, ...HEAP_FLAGS, program, runFiles(runDir).supervisorLock, runDir, ...daemon];
}
