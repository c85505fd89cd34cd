import { Worker } from 'node:worker_threads';
import type { HashAnswer, HashRequest } from './hash-worker.js';
import { sharedBuffer } from './shared-buffer.js';
import { workerFile } from './worker-file.js';

/** Bytes that are handed over at once: a message costs about as much as hashing 10 KiB. */
const SLOT_SIZE = 512 << 10;
/** Memory of one running hash, in slots: one is filled, one hashed, and one waits. */
const SLOTS = 3;
/** Megabytes of the thread's own heap: it makes nothing but messages. */
const HEAP_MB = 16;

/** A hash that another thread works on. Its calls come one after the other. */
export interface ThreadHash {
  /** Memory for the next bytes, as soon as some is free. */
  room(): Promise<Buffer>;
  /**
   * Hashes the first `size` bytes of the last `room`, which stay as they are until they are hashed and `inUse` has settled too, however
   * it does.
   */
  add(size: number, inUse: Promise<unknown>): void;
  /** The digest in hex of all that was added. */
  digest(): Promise<string>;
  /** Lets go of a hash, whether it was asked for its digest or not. */
  close(): void;
}

/** Who waits for an answer of the thread. */
interface Waiter {
  resolve(hex: string): void;
  reject(error: Error): void;
}

/** A thread for hashes: SHA-256 is most of what copying a blob costs, and can go on while the next bytes come. */
export class HashThread {
  readonly #worker = new Worker(workerFile('hash-worker'), {
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, maxYoungGenerationSizeMb: 1 },
  });
  /** Of each hash: who waits for each slot to be hashed, in order, and last for the digest. */
  readonly #waiters = new Map<number, Waiter[]>();
  #nextId = 0;
  #failure: Error | undefined;

  constructor() {
    this.#worker.on('message', ({ id, hex }: HashAnswer) => this.#waiters.get(id)?.shift()?.resolve(hex));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the thread that hashes blobs has ended')));
  }

  /** A new hash. */
  begin(algorithm: 'sha256' | 'sha512'): ThreadHash {
    const id = this.#nextId++;
    const slots = Array.from({ length: SLOTS }, () => ({
      bytes: sharedBuffer(SLOT_SIZE),
      idle: Promise.resolve() as Promise<unknown>,
    }));
    this.#waiters.set(id, []);
    this.#send({ id, kind: 'open', algorithm, slots: slots.map(({ bytes }) => bytes) });
    let next = 0;
    return {
      async room() {
        await slots[next]!.idle;
        return slots[next]!.bytes;
      },
      add: (size, inUse) => {
        const hashed = this.#ask({ id, kind: 'bytes', slot: next, size });
        slots[next]!.idle = Promise.all([hashed, inUse.catch(() => {})]);
        // Whoever wants the slot again hears of it.
        slots[next]!.idle.catch(() => {});
        next = (next + 1) % SLOTS;
      },
      digest: () => this.#ask({ id, kind: 'end' }),
      close: () => {
        if (this.#waiters.delete(id)) this.#send({ id, kind: 'drop' });
      },
    };
  }

  /** Ends the thread. What is under way fails. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(request: HashRequest & { kind: 'bytes' | 'end' }): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#waiters.get(request.id)?.push({ resolve, reject });
      this.#send(request);
    });
  }

  #send(request: HashRequest): void {
    this.#worker.postMessage(request);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const waiter of [...this.#waiters.values()].flat()) waiter.reject(this.#failure);
  }
}
