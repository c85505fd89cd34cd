import { once } from 'node:events';
import { messageOf, RafterError } from '../errors.js';
import { EXIT } from './exit-codes.js';

/**
 * Standard output, which ends the process quietly when its reader has gone: `rafter ls | head`. Where it cannot be written for another
 * reason, a full disk say, an error ends the process. Commands that write nothing should not ask for it: Node.js takes 2 ms to
 * make the stream.
 */
export function stdout(): NodeJS.WriteStream {
  if (!process.stdout.listeners('error').includes(endWithoutReader))
    process.stdout.on('error', endWithoutReader);
  return process.stdout;
}

/** Writes to stdout and waits while the reader is behind. */
export async function writeStdout(bytes: Buffer | string): Promise<void> {
  if (!stdout().write(bytes)) await once(process.stdout, 'drain');
}

function endWithoutReader(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  const what = error.code === 'ENOSPC' ? 'the disk is full (ENOSPC)' : messageOf(error);
  throw new RafterError('FAILED', `standard output cannot be written: ${what}`, {
    cause: error,
    hint: 'the results are not whole: redirect them to another place',
  });
}
