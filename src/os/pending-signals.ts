import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** Bit of SIGKILL in a signal mask of /proc. */
const KILL = 1n << BigInt(constants.signals.SIGKILL - 1);

/**
 * True if thread `id` is about to end by a signal: the kernel marks every thread of a process with SIGKILL once a signal is fatal to
 * it, whichever that was (proc_pid_status(5)). Also true if there is no such thread any more.
 */
export function isBeingKilled(id: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${id}/status`, 'latin1');
  } catch {
    return true;
  }
  for (const [, mask] of status.matchAll(/^(?:SigPnd|ShdPnd):\s+([0-9a-f]+)$/gm))
    if ((BigInt(`0x${mask}`) & KILL) !== 0n) return true;
  return false;
}
