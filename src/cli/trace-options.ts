import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { RafterError } from '../errors.js';

export interface TraceCliOptions {
  trace?: string;
  readAhead?: number;
}

/** Adds `--trace` and `--read-ahead`. `when` says when the trace is written. */
export function addTraceOptions(command: Command, when: string): Command {
  return command
    .option('--trace <file>', `record what is read, for rafter trace and optimize; written ${when}`)
    .option('--read-ahead <kib>', "most that the kernel reads ahead; default: the kernel's own", parseKiB);
}

/** The part of a mount request that `--read-ahead` means. */
export function readAheadOf({ readAhead }: TraceCliOptions): { readAheadKiB?: number } {
  return readAhead === undefined ? {} : { readAheadKiB: readAhead };
}

/** The file that `--trace` names, absolute. USAGE or NOT_FOUND now, and not when the trace is to be written, if it cannot be there. */
export function traceFile(path: string): string {
  const file = resolve(path);
  const kindOf = (one: string) => {
    try {
      return statSync(one).isDirectory() ? 'directory' : 'file';
    } catch {
      return undefined;
    }
  };
  if (kindOf(file) === 'directory')
    throw new RafterError('USAGE', `no trace can be written to ${file}: it is a directory`, {
      hint: 'name a file: --trace start.trace',
    });
  const parent = dirname(file);
  if (kindOf(parent) !== 'directory')
    throw new RafterError(
      'NOT_FOUND',
      `no trace can be written to ${file}: there is no directory ${parent}`,
      {
        hint: `create it first: mkdir -p ${parent}`,
      },
    );
  return file;
}

function parseKiB(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new InvalidArgumentError('It must be a number of KiB.');
  return Number(text);
}
