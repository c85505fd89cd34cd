import { readFileSync } from 'node:fs';
import { isKernelAtLeast } from '../os/kernel.js';
import type { Machine } from './spec.js';

/** This machine and this process, as containers see them. */
export function thisMachine(): Machine {
  const { columns, rows } = process.stdout;
  return {
    env: process.env,
    openFilesLimit: parseOpenFilesLimit(readFileSync('/proc/self/limits', 'latin1')),
    recursiveReadOnly: isKernelAtLeast(5, 12),
    terminal: columns && rows ? { width: columns, height: rows } : undefined,
  };
}

/** The hard limit of open files in a text of /proc/PID/limits (proc(5)). Infinity if there is none. */
export function parseOpenFilesLimit(limits: string): number {
  const hard = /^Max open files +\S+ +(\d+)/m.exec(limits)?.[1];
  return hard === undefined ? Number.POSITIVE_INFINITY : Number(hard);
}
