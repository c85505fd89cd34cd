import { type Command, InvalidArgumentError } from 'commander';

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

function parseKiB(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new InvalidArgumentError('It must be a number of KiB.');
  return Number(text);
}
