import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Until } from './until.js';

const PORT_POLL_MS = 50;
/** Most characters of a line that are looked at. */
const MAX_LINE = 1 << 16;

/** Waits for the end of a start. */
export interface StartWatch {
  /** Aborted when it is over. */
  readonly signal: AbortSignal;
  /** Takes standard output, where it is looked at. */
  readonly onOutput: ((bytes: Buffer) => void) | undefined;
  stop(): void;
}

/** Watches for `until`, from now on. */
export function watchStart(until: Until): StartWatch {
  const over = new AbortController();
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  const watch = { signal: over.signal, onOutput: undefined, stop };
  if ('text' in until) {
    let line = '';
    const onOutput = (bytes: Buffer) => {
      const lines = (line + bytes.toString('utf8')).split('\n');
      line = lines.at(-1)!.slice(-MAX_LINE);
      if (lines.some((one) => one.includes(until.text))) over.abort();
    };
    return { ...watch, onOutput };
  }
  const waiting =
    'ms' in until
      ? sleep(until.ms, undefined, { signal: stopped.signal })
      : untilListening(until.port, stopped.signal);
  waiting.then(
    () => over.abort(),
    () => {},
  );
  return watch;
}

/** Resolves when somebody on this machine takes connections at `port`. */
async function untilListening(port: number, signal: AbortSignal): Promise<void> {
  while (!(await isListening(port))) await sleep(PORT_POLL_MS, undefined, { signal });
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const settle = (listening: boolean) => {
      socket.destroy();
      resolve(listening);
    };
    socket.once('connect', () => settle(true)).once('error', () => settle(false));
  });
}
