import { errnoOf } from '../errors.js';

/** True if a process with this number is there, whoever it belongs to. A zombie counts. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}
