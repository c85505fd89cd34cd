import { constants } from 'node:os';

/** Signals that go to the container's process; those not here are Node's own business or cannot be caught. */
const RELAYED: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGWINCH',
];
/** Whoever sends one of these wants this program to end. */
const ENDING = new Set<NodeJS.Signals>(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM']);
/** These leave the container so much time, as `docker stop` does; then it is killed. */
const INSISTENT = new Set<NodeJS.Signals>(['SIGHUP', 'SIGTERM']);
const GRACE_MS = 10_000;
/** So many interrupts within the grace time kill the container too: someone is hitting Ctrl-C. */
const INTERRUPTS_TO_KILL = 3;

/** Whom signals go to. */
interface SignalReceiver {
  send(signal: NodeJS.Signals): void;
  /** Called at most once, when the container did not end by itself. */
  kill(): void;
}

export interface SignalRelay {
  /** The first signal that asked to end while there was no receiver. */
  readonly pending: NodeJS.Signals | undefined;
  /** From now on signals go to `receiver`. */
  attach(receiver: SignalReceiver): void;
  /** Signals have their usual effect again. */
  stop(): void;
}

/**
 * Catches this process's signals from now on, so that it lives to clean up behind the container. `graceMs` after
 * SIGTERM or SIGHUP, or at the third SIGINT within that time, the container is killed: as process 1 of its namespace it
 * ignores every signal that it has no handler for. Aborting `abort` acts as SIGTERM.
 */
export function relaySignals({
  abort,
  graceMs = GRACE_MS,
}: {
  abort?: AbortSignal | undefined;
  graceMs?: number | undefined;
}): SignalRelay {
  let receiver: SignalReceiver | undefined;
  let pending: NodeJS.Signals | undefined;
  let timer: NodeJS.Timeout | undefined;
  let interrupts: number[] = [];
  let killed = false;

  const kill = () => {
    if (!killed) receiver?.kill();
    killed = true;
  };
  const handle = (signal: NodeJS.Signals) => {
    if (receiver === undefined) {
      if (ENDING.has(signal)) pending ??= signal;
      return;
    }
    receiver.send(signal);
    if (INSISTENT.has(signal)) timer ??= setTimeout(kill, graceMs);
    if (signal !== 'SIGINT') return;
    const now = Date.now();
    interrupts = [...interrupts.filter((time) => now - time < graceMs), now];
    if (interrupts.length >= INTERRUPTS_TO_KILL) kill();
  };
  const handleAbort = () => handle('SIGTERM');

  for (const signal of RELAYED) process.on(signal, handle);
  abort?.addEventListener('abort', handleAbort);
  if (abort?.aborted) handleAbort();
  return {
    get pending() {
      return pending;
    },
    attach(to) {
      receiver = to;
    },
    stop() {
      clearTimeout(timer);
      for (const signal of RELAYED) process.off(signal, handle);
      abort?.removeEventListener('abort', handleAbort);
    },
  };
}

/** The exit code that a shell gives a process which `signal` ended. */
export function exitCodeOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
