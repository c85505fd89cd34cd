import { closeSync, fstatSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';

// Apart from the log's writer: commands look into the log of a daemon and have no use for what writes it.

/** Levels of the daemon's log by their weight. */
export const LOG_LEVELS = ['info', 'warn', 'error'] as const;

/** One of them. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The last `lines` lines that were written to the log at `path` behind byte `from`. */
export function readLogTail(
  path: string,
  { from = 0, lines = 10 }: { from?: number; lines?: number } = {},
): string {
  const text = readEnd(path, from).toString();
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

/** Bytes of the log at `path`; 0 if there is none. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Leaves of the log at `path` whole lines of at most the newer half of `limit` bytes. */
export function dropOlderHalf(path: string, limit: number): void {
  const rest = readEnd(path, Math.max(sizeOf(path) - Math.floor(limit / 2), 0));
  const fd = openSync(path, 'r+');
  try {
    ftruncateSync(fd, 0);
    writeSync(fd, rest, rest.indexOf('\n') + 1);
  } finally {
    closeSync(fd);
  }
}

function readEnd(path: string, from: number): Buffer {
  if (sizeOf(path) <= from) return Buffer.alloc(0);
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(Math.max(fstatSync(fd).size - from, 0));
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from));
  } finally {
    closeSync(fd);
  }
}
