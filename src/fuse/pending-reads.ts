import { isBeingKilled } from '../os/pending-signals.js';

/** How often to look again whether a reader that got a signal is killed meanwhile, in milliseconds. */
const LOOK_INTERVAL_MS = 200;

interface PendingRead {
  controller: AbortController;
  /** Thread that reads; 0 if that is the kernel's own. */
  reader: number;
  timer?: NodeJS.Timeout;
}

/**
 * Reads that wait for something, so that each can be called off: because its reader is killed, or because the mount has ended.
 *
 * The kernel tells of every signal that a reader gets. But a read of a file ends early only when its reader does: programs
 * that handle signals (Go's run-time sends them to its own threads all the time) do not expect it, and a page that could not be
 * read for such a reason is an I/O error for whoever faults on it.
 */
export class PendingReads {
  /** By the eight bytes that name a request. */
  readonly #running = new Map<string, PendingRead>();

  /** Runs `work` for request `unique` of thread `reader`; its signal is aborted when the reader is killed. */
  async run<T>(
    { unique, reader }: { unique: Buffer; reader: number },
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = unique.toString('latin1');
    const read: PendingRead = { controller: new AbortController(), reader };
    this.#running.set(key, read);
    try {
      return await work(read.controller.signal);
    } finally {
      clearInterval(read.timer);
      this.#running.delete(key);
    }
  }

  /** Calls off all of them: nobody is there any more. */
  interruptAll(): void {
    for (const { controller } of this.#running.values()) controller.abort();
  }

  /** The reader of request `unique` got a signal. The kernel says so once, so it is watched from here on. */
  interrupt(unique: Buffer): void {
    const read = this.#running.get(unique.toString('latin1'));
    if (read === undefined || read.reader === 0) return;
    const look = () => {
      if (isBeingKilled(read.reader)) read.controller.abort();
    };
    look();
    read.timer ??= setInterval(look, LOOK_INTERVAL_MS).unref();
  }
}
