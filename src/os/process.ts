import { readFileSync } from 'node:fs';
import { errnoOf } from '../errors.js';

/**
 * True if a process with this number runs, whoever it belongs to. One that has ended and whose parent has not asked for its exit code
 * does not: where process 1 is no init, as in many containers, nobody ever asks.
 */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
  }
  return !isZombie(pid);
}

/** Whether nothing is left of a process but its exit code (proc_pid_status(5)); its main thread may end before the others. */
function isZombie(pid: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch (error) {
    return errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH';
  }
  return /^State:\s+[ZX]/m.test(status) && !/^Threads:\s+(?!1$)/m.test(status);
}
