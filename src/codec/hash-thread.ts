import { Worker } from 'node:worker_threads';
import type { HashAnswer, HashRequest } from './hash-worker.js';
import { sharedBuffer } from './shared-buffer.js';
import { workerFile } from './worker-file.js';

/** Bytes that go to the thread at once: a message costs as much as hashing 20 KiB. */
const SLOT_SIZE = 512 << 10;
/** Memory of one running hash, in slots: one that fills, the others on their way. */
const SLOTS = 4;

/** A digest of data that arrives in pieces, computed in another thread. */
export interface RunningHash {
  /**
   * Appends `bytes`, which may be reused when this returns. A promise is back pressure, to be awaited before the next call;
   * undefined means that there is room.
   */
  update(bytes: Buffer): Promise<void> | undefined;
  /** The digest of everything, in hex. Ends the hash. */
  digest(): Promise<string>;
  /** Ends a hash whose digest nobody wants. */
  drop(): void;
}

interface Waiting {
  resolve(answer: HashAnswer): void;
  reject(error: Error): void;
}

/** A thread that hashes: SHA-256 without processor support runs at a few hundred MB/s, which the thread that moves the bytes cannot spare. */
export class HashThread {
  readonly #worker = new Worker(workerFile('hash-worker'));
  /** For each running hash, who waits for its answers, in order. */
  readonly #waiting = new Map<number, Waiting[]>();
  #nextId = 0;
  #failure: Error | undefined;

  constructor() {
    this.#worker.on('message', (answer: HashAnswer) =>
      this.#waiting.get(answer.id)?.shift()?.resolve(answer),
    );
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the hash thread has ended')));
  }

  start(algorithm: 'sha256' | 'sha512'): RunningHash {
    const id = this.#nextId++;
    this.#waiting.set(id, []);
    this.#send({ kind: 'start', id, algorithm });
    return new ThreadedHash({
      update: (bytes) => this.#ask({ kind: 'update', id, bytes }),
      digest: async () => {
        const { hex } = await this.#ask({ kind: 'digest', id });
        this.#waiting.delete(id);
        return hex!;
      },
      drop: () => {
        this.#send({ kind: 'drop', id });
        this.#waiting.delete(id);
      },
    });
  }

  /** Ends the thread. What is under way fails. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(request: HashRequest): void {
    this.#worker.postMessage(request);
  }

  #ask(request: HashRequest): Promise<HashAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#waiting.get(request.id)!.push({ resolve, reject });
      this.#send(request);
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const waiting of this.#waiting.values()) {
      for (const { reject } of waiting.splice(0)) reject(this.#failure);
    }
  }
}

interface HashActions {
  update(bytes: Buffer): Promise<unknown>;
  digest(): Promise<string>;
  drop(): void;
}

/** Gathers pieces in shared slots, so that small ones cost no message each. */
class ThreadedHash implements RunningHash {
  readonly #actions: HashActions;
  readonly #slots = Array.from({ length: SLOTS }, () => sharedBuffer(SLOT_SIZE));
  /** When each slot may be filled again. */
  readonly #free: (Promise<unknown> | undefined)[] = [];
  #sent = 0;
  #done = 0;
  #slot = 0;
  #used = 0;
  #ended = false;

  constructor(actions: HashActions) {
    this.#actions = actions;
  }

  update(bytes: Buffer): Promise<void> | undefined {
    const taken = this.#fill(bytes);
    if (taken === bytes.length) return undefined;
    return this.#updateSlowly(bytes.subarray(taken));
  }

  async digest(): Promise<string> {
    this.#flush();
    this.#ended = true;
    return this.#actions.digest();
  }

  drop(): void {
    if (!this.#ended) this.#actions.drop();
    this.#ended = true;
  }

  /** Takes as many bytes as there is room for. */
  #fill(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#sent - this.#done < SLOTS) {
      const copied = bytes.copy(this.#slots[this.#slot]!, this.#used, at);
      at += copied;
      this.#used += copied;
      if (this.#used === SLOT_SIZE) this.#flush();
    }
    return at;
  }

  async #updateSlowly(bytes: Buffer): Promise<void> {
    for (let rest = bytes; rest.length > 0; rest = rest.subarray(this.#fill(rest))) {
      if (this.#sent - this.#done === SLOTS) await this.#free[this.#slot];
    }
  }

  #flush(): void {
    if (this.#used === 0) return;
    const slot = this.#slot;
    const hashed = this.#actions.update(this.#slots[slot]!.subarray(0, this.#used)).then(() => {
      this.#done++;
    });
    // A failure comes out where somebody waits for the slot, or with the digest.
    hashed.catch(() => {});
    this.#free[slot] = hashed;
    this.#sent++;
    this.#used = 0;
    this.#slot = (slot + 1) % SLOTS;
  }
}
