import { Worker } from 'node:worker_threads';
import { RafterError } from '../errors.js';
import { Mailbox } from './mailbox.js';
import { sharedBuffer } from './shared-buffer.js';
import type { UnpackAnswer, UnpackRequest } from './unpack-worker.js';
import { workerFile } from './worker-file.js';

/** Bytes of the tar that come at once: a multiple of a tar's block, so that no header lies in two pieces. */
const SLOT_SIZE = 1 << 20;
/** Memory of one layer, in slots: what is decoded ahead of its reader. */
const SLOTS = 4;
/** Compressed bytes that go to the thread at once, and how many such pieces may wait there. */
const INPUT_SIZE = 256 << 10;
const INPUTS = 4;

/** A layer whose tar is decoded and hashed in another thread. */
export interface UnpackedLayer {
  /**
   * The tar. A piece is good until the next one is asked for. Throws what reading the source and `decompressLayer` throw; the source
   * is read to its end before this ends.
   */
  pieces: AsyncGenerator<Buffer>;
  /** Resolves when the source was read to its end, or will be read no more. */
  received: Promise<void>;
  /** The digest of the whole tar, in hex, once `pieces` has ended. */
  digest(): string;
  /** Reads the rest of the source and decodes none of it; what reading it threw, undefined if nothing. `pieces` is of no use then. */
  verdict(): Promise<unknown>;
  /** Ends everything, the source too. */
  close(): void;
}

type LayerEvent = (UnpackAnswer & { kind: 'output' | 'done' | 'failed' }) | { kind: 'error'; error: unknown };

/** What the thread's answers to one layer come to. */
interface Layer {
  events: Mailbox<LayerEvent>;
  credits: Mailbox<true>;
  /** True when the thread wants no more of the source. */
  over: boolean;
}

/**
 * A thread that decompresses layers and hashes what comes out: both cost more than all else that is done with a tar, and the memory
 * that zlib goes through would make the garbage collector walk over the whole tree of the image again and again.
 */
export class UnpackThread {
  readonly #worker = new Worker(workerFile('unpack-worker'));
  readonly #layers = new Map<number, Layer>();
  /** Slots of layers that are done with. */
  readonly #free: Buffer[][] = [];
  #nextId = 0;
  #failure: Error | undefined;

  constructor() {
    this.#worker.on('message', (answer: UnpackAnswer) => this.#receive(answer));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the thread that unpacks layers has ended')));
  }

  /** Layers that are being unpacked. */
  get load(): number {
    return this.#layers.size;
  }

  /** Begins to unpack what `source` gives. `name` is what errors call the layer. */
  unpack(
    source: AsyncIterable<Buffer> & { destroy(): unknown },
    { name, algorithm }: { name: string; algorithm: 'sha256' | 'sha512' },
  ): UnpackedLayer {
    const id = this.#nextId++;
    const layer: Layer = { events: new Mailbox(), credits: new Mailbox(), over: false };
    for (let i = 0; i < INPUTS; i++) layer.credits.put(true);
    this.#layers.set(id, layer);
    const slots = this.#free.pop() ?? Array.from({ length: SLOTS }, () => sharedBuffer(SLOT_SIZE));
    this.#send({ id, kind: 'open', name, algorithm, slots });
    if (this.#failure) layer.events.put({ kind: 'error', error: this.#failure });
    const received = this.#feed(id, layer, source);
    let hex: string | undefined;
    const close = () => {
      if (!this.#layers.delete(id)) return;
      this.#send({ id, kind: 'drop' });
      // The thread hears of it before it hears of the next layer.
      this.#free.push(slots);
      layer.over = true;
      layer.credits.put(true);
      layer.events.put({ kind: 'error', error: new Error('the layer was closed') });
      source.destroy();
    };
    const pieces = async function* (this: UnpackThread): AsyncGenerator<Buffer> {
      for (;;) {
        const event = await layer.events.take();
        if (event.kind === 'error') throw event.error;
        if (event.kind === 'failed') throw errorOf(event);
        if (event.kind === 'done') {
          hex = event.hex;
          break;
        }
        const { slot, size } = event;
        yield slots[slot]!.subarray(0, size);
        this.#send({ id, kind: 'free', slot });
      }
      const failure = await received;
      if (failure) throw failure.error;
    };
    return {
      pieces: pieces.call(this),
      received: received.then(() => {}),
      digest() {
        if (hex === undefined) throw new Error('the tar was not read to its end');
        return hex;
      },
      async verdict() {
        layer.over = true;
        layer.credits.put(true);
        return (await received)?.error;
      },
      close,
    };
  }

  /** Ends the thread. What is under way fails. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Gives the source to the thread. The result is what reading it threw; the reader of the tar hears of that as well. */
  async #feed(
    id: number,
    layer: Layer,
    source: AsyncIterable<Buffer>,
  ): Promise<{ error: unknown } | undefined> {
    let bytes = Buffer.allocUnsafeSlow(INPUT_SIZE);
    let used = 0;
    const flush = async () => {
      await layer.credits.take();
      if (!layer.over)
        this.#send({ id, kind: 'input', bytes: new Uint8Array(bytes.buffer, 0, used) }, [
          bytes.buffer as ArrayBuffer,
        ]);
      bytes = Buffer.allocUnsafeSlow(INPUT_SIZE);
      used = 0;
    };
    try {
      for await (const piece of source) {
        for (let at = 0; at < piece.length && !layer.over; ) {
          const copied = piece.copy(bytes, used, at);
          at += copied;
          used += copied;
          if (used === INPUT_SIZE) await flush();
        }
      }
      if (used > 0 && !layer.over) await flush();
      this.#send({ id, kind: 'end' });
      return undefined;
    } catch (error) {
      layer.events.put({ kind: 'error', error });
      return { error };
    }
  }

  #send(request: UnpackRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #receive(answer: UnpackAnswer): void {
    const layer = this.#layers.get(answer.id);
    if (layer === undefined) return;
    if (answer.kind !== 'output') layer.credits.put(true);
    if (answer.kind === 'done' || answer.kind === 'failed') layer.over = true;
    if (answer.kind !== 'taken') layer.events.put(answer);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const layer of this.#layers.values()) {
      layer.over = true;
      layer.credits.put(true);
      layer.events.put({ kind: 'error', error: this.#failure });
    }
  }
}

function errorOf({ code, message, hint }: UnpackAnswer & { kind: 'failed' }): Error {
  return code === undefined
    ? new Error(message)
    : new RafterError(code, message, hint === undefined ? {} : { hint });
}
