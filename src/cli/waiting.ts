import { fstatSync } from 'node:fs';
import { formatSeconds } from './format.js';

/** How long nothing is said, and then between two looks at the clock, in milliseconds. */
const EACH_MS = 1000;

export interface WaitingOptions {
  quiet: boolean;
  stream?: NodeJS.WriteStream;
}

/**
 * Says on a terminal what is waited for, and how long already, once that takes longer than a second. Whoever calls the result takes it
 * away again, before anything else is written.
 */
export function sayWaiting(what: string, { quiet, stream: given }: WaitingOptions): () => void {
  const stream = quiet ? undefined : (given ?? deviceAtStderr());
  if (!stream?.isTTY) return () => {};
  const startedAt = performance.now();
  let isShown = false;
  const timer = setInterval(() => {
    const time = `  ${formatSeconds((performance.now() - startedAt) / 1000)}`;
    const room = Math.max(1, (stream.columns ?? 80) - 1 - time.length);
    const text = what.length <= room ? what : `${what.slice(0, room - 1)}…`;
    stream.write(`\r${text}${time}\x1b[K`);
    isShown = true;
  }, EACH_MS).unref();
  return () => {
    clearInterval(timer);
    if (isShown) stream.write('\r\x1b[K');
    isShown = false;
  };
}

/** Standard error, if it may be a terminal: Node.js takes 3 ms to make the stream. */
function deviceAtStderr(): NodeJS.WriteStream | undefined {
  try {
    return fstatSync(2).isCharacterDevice() ? process.stderr : undefined;
  } catch {
    // It is closed.
    return undefined;
  }
}
