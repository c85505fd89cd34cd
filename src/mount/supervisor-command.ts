import { fileURLToPath } from 'node:url';
import { runFiles } from './run-dir.js';

/** Program and arguments that run a supervisor for the run directory, which runs `daemon`: program and arguments, too. */
export function supervisorCommand(runDir: string, daemon: readonly string[]): string[] {
  const program = fileURLToPath(new URL('./supervisor-main.js', import.meta.url));
  return [process.execPath, program, runFiles(runDir).supervisorLock, runDir, ...daemon];
}
