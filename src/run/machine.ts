import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { isKernelAtLeast } from '../os/kernel.js';
import type { Machine } from './spec.js';

/** This machine and this process, as containers see them: with `tty` its terminal, too. */
export function thisMachine({ tty = false }: { tty?: boolean | undefined }): Machine {
  return {
    env: process.env,
    arch: process.arch,
    kernel: release(),
    throttleDirectories: throttleDirectories(),
    openFilesLimit: parseOpenFilesLimit(readFileSync('/proc/self/limits', 'latin1')),
    recursiveReadOnly: isKernelAtLeast(5, 12),
    terminal: tty ? terminalSize() : undefined,
  };
}

/** Only for who wants to know: Node.js takes 2 ms to make the stream. */
function terminalSize(): Machine['terminal'] {
  const { columns, rows } = process.stdout;
  return columns && rows ? { width: columns, height: rows } : undefined;
}

/** The hard limit of open files in a text of /proc/PID/limits (proc(5)). Infinity if there is none. */
export function parseOpenFilesLimit(limits: string): number {
  const hard = /^Max open files +\S+ +(\d+)/m.exec(limits)?.[1];
  return hard === undefined ? Number.POSITIVE_INFINITY : Number(hard);
}

/** Where each processor says how often it got too hot: with it containers could guess at each other's secrets. */
export function throttleDirectories(processors = '/sys/devices/system/cpu'): string[] {
  if (!existsSync(processors)) return [];
  return readdirSync(processors)
    .filter((name) => /^cpu\d+$/.test(name))
    .map((name) => join(processors, name, 'thermal_throttle'))
    .filter((path) => existsSync(path));
}
