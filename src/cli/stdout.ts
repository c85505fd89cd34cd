import { once } from 'node:events';
import { EXIT } from './exit-codes.js';

/**
 * Standard output, which ends the process quietly when its reader has gone: `rafter ls | head`. Commands that write nothing should not
 * ask for it: Node.js takes 2 ms to make the stream.
 */
export function stdout(): NodeJS.WriteStream {
  if (!process.stdout.listeners('error').includes(endOnClosedPipe))
    process.stdout.on('error', endOnClosedPipe);
  return process.stdout;
}

/** Writes to stdout and waits while the reader is behind. */
export async function writeStdout(bytes: Buffer | string): Promise<void> {
  if (!stdout().write(bytes)) await once(process.stdout, 'drain');
}

function endOnClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
}
