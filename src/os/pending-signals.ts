import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

type Signal = keyof typeof constants.signals;

/** Signals that end no process which has not asked to hear of them (signal(7)). */
const HARMLESS: readonly Signal[] = [
  'SIGCHLD',
  'SIGCONT',
  'SIGURG',
  'SIGWINCH',
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
];

const bit = (name: Signal) => 1n << BigInt(constants.signals[name] - 1);
const KILL = bit('SIGKILL');
const harmless = HARMLESS.reduce((mask, name) => mask | bit(name), 0n);

/**
 * True if thread `id` is about to end by a signal: SIGKILL, which the kernel also gives to the threads of a process that another
 * signal ends, or one that waits to be delivered and is neither handled, ignored nor blocked (proc_pid_status(5)). Also true if
 * there is no such thread any more.
 */
export function isBeingKilled(id: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${id}/status`, 'latin1');
  } catch {
    return true;
  }
  const masks = new Map<string, bigint>();
  for (const [, name, mask] of status.matchAll(/^(Sig...|ShdPnd):\s+([0-9a-f]+)$/gm))
    masks.set(name!, BigInt(`0x${mask}`));
  const mask = (name: string) => masks.get(name) ?? 0n;
  const pending = mask('SigPnd') | mask('ShdPnd');
  const survived = mask('SigBlk') | mask('SigIgn') | mask('SigCgt') | harmless;
  return (pending & (KILL | ~survived)) !== 0n;
}
