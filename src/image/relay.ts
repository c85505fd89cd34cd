import { finished, Readable } from 'node:stream';

/** Bytes that wait in a relay for a reader that is busy. */
const WAITING_SIZE = 256 << 10;

/**
 * Gives `take` every piece of `source`, in order. If it returns a promise, `source` waits for that. Settles when `source` has ended
 * and nothing is being taken; rejects with its error or that of `take`, which destroys it. Costs a fraction of `for await`, which counts
 * in pieces of 64 KiB.
 */
export function takeAll(source: Readable, take: (piece: Buffer) => Promise<void> | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    let busy: Promise<void> | undefined;
    const fail = (error: Error) => {
      source.destroy(error);
      reject(error);
    };
    finished(source, { writable: false }, (error) => {
      const settle = () => (error ? reject(error) : resolve());
      // A stream may say that it has ended while it waits. Of an error in taking `fail` hears.
      if (busy === undefined) settle();
      else busy.then(settle, () => {});
    });
    source.on('data', (piece: Buffer) => {
      try {
        busy = take(piece);
        if (busy === undefined) return;
        source.pause();
        busy.then(() => source.resume(), fail);
      } catch (error) {
        fail(error as Error);
      }
    });
  });
}

/** A stream whose bytes come from other streams or buffers, each passed on in the moment in which it comes. */
export class Relay extends Readable {
  readonly #feed: (relay: Relay) => Promise<void>;
  #isFed = false;
  #source: Readable | undefined;
  #wake: (() => void) | undefined;

  /** `feed` begins when the stream is first read. Its end is the stream's, and so is its error. */
  constructor(feed: (relay: Relay) => Promise<void>) {
    super({ highWaterMark: WAITING_SIZE });
    this.#feed = feed;
  }

  /** Passes a piece on; a promise if the reader is busy: then it is to be waited for. */
  give(piece: Buffer): Promise<void> | undefined {
    if (this.push(piece)) return undefined;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /**
   * Passes all of `source` on, after `look` has seen each piece and not thrown. Rejects with the error of either. Whoever destroys the
   * relay destroys `source`.
   */
  passOn(source: Readable, look: (piece: Buffer) => void): Promise<void> {
    this.#source = source;
    if (this.destroyed) source.destroy();
    return takeAll(source, (piece) => {
      look(piece);
      return this.give(piece);
    });
  }

  override _read(): void {
    this.#goOn();
    if (this.#isFed) return;
    this.#isFed = true;
    this.#feed(this).then(
      () => this.push(null),
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#source?.destroy();
    this.#goOn();
    done(error);
  }

  #goOn(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
