import { once } from 'node:events';

/** Writes to stdout and waits while the reader is behind. A reader that has gone ends the process quietly (program.ts). */
export async function writeStdout(bytes: Buffer | string): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
}
