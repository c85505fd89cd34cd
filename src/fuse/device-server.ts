import { closeSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { Worker } from 'node:worker_threads';
import { openEventFd } from '../os/epoll.js';
import { giveMemoryBack, takeMemory } from '../os/spare-memory.js';
import { type Answerer, createAnswerer, type LaterRead, REPLY_BUFFER_SIZE } from './answer.js';
import { type FuseConnection, writeReply } from './device.js';
import type { FromReader, ReaderData, ToReader } from './device-messages.js';
import type { FileSystem } from './file-system.js';
import { negativeErrno } from './fs-error.js';
import { PendingReads } from './pending-reads.js';
import { OUT_HEADER_SIZE, opcode } from './protocol.js';
import { writeHeader } from './reply.js';
import { decodeInterrupted, decodeRequest } from './request.js';

export interface ServeOptions {
  /** See `answerInit`; only for a new mount. */
  parallel?: boolean | undefined;
  /** The file system as the main thread answers it: all that the reading thread passes on. */
  fs: FileSystem;
  /** Describes the same file system to the reading thread; without it everything is passed on. */
  spec?: unknown;
  /** Told about everything that a reader gets EIO for. */
  onError?: (operation: string, node: number, error: unknown) => void;
  /** Given every read that cannot be answered at once; passes it on. */
  measure?: (read: Promise<number>) => Promise<number>;
}

/** One mount that is being served. */
export interface ServedConnection {
  /** Settles when the kernel has let go of the mount; the descriptor is closed then. */
  readonly ended: Promise<void>;
  /** Tells the reading thread's file system something new. */
  update(update: unknown): void;
}

interface Served {
  fd: number;
  answerer: Answerer;
  fs: FileSystem;
  pending: PendingReads;
  onError: ServeOptions['onError'];
  measure: NonNullable<ServeOptions['measure']>;
  /** False once the descriptor is closed: its number may belong to another file then. */
  alive: boolean;
  end: () => void;
}

/** The reading thread's young objects live as long as one request. */
const READER_YOUNG_MB = 2;

const { EIO } = constants.errno;
const WAKE = Buffer.from(new BigUint64Array([1n]).buffer);

let isFrozen = false;

/**
 * A report of Node.js on itself asks every thread for its part and waits, for ever where a thread runs no event loop, as the
 * reading one. Loaders of native packages ask for a report just to learn which C library is there: they get this one.
 */
function freezeReport(): void {
  if (isFrozen) return;
  isFrozen = true;
  // It would look up the names of all that there are connections with.
  Object.assign(process.report, { excludeNetwork: true });
  const report = process.report.getReport();
  process.report.getReport = () => report;
}

/**
 * Serves FUSE connections: a worker thread reads all their requests and answers what it can at once (`device-reader.ts`);
 * what has to wait, for the network mostly, is answered by this thread. One per process is enough for any number of mounts.
 */
export class DeviceServer {
  readonly #worker: Worker;
  readonly #wakeFd = openEventFd();
  readonly #served = new Map<number, Served>();
  readonly #reply = Buffer.alloc(REPLY_BUFFER_SIZE);
  readonly #exited: Promise<void>;
  /** Who waits for works, by id. */
  readonly #works = new Map<number, (result: unknown) => void>();
  #last = 0;
  #isGone = false;
  #closed: Promise<void> | undefined;

  /**
   * `workerFile` is a module that calls `readDevices` with its `workerData` and `parentPort`. `onFailed` is told if that
   * thread ends by an error: nothing is served any more then, and the process had better be replaced.
   */
  constructor(workerFile: string | URL, onFailed: (error: Error) => void) {
    freezeReport();
    const workerData: ReaderData = { wakeFd: this.#wakeFd };
    const resourceLimits = { maxYoungGenerationSizeMb: READER_YOUNG_MB };
    this.#worker = new Worker(workerFile, { workerData, name: 'fuse reader', execArgv: [], resourceLimits });
    this.#worker.on('message', (message: FromReader) => this.#take(message));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#isGone = true;
        for (const done of this.#works.values()) done(undefined);
        this.#works.clear();
        resolve();
      });
    });
    this.#worker.once('error', onFailed);
  }

  /** Serves `connection` until the kernel lets go of it. */
  serve(
    { fd }: FuseConnection,
    { fs, spec, onError, measure = (read) => read }: ServeOptions,
  ): ServedConnection {
    const connection = ++this.#last;
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const answerer = createAnswerer(fs, { onError });
    const pending = new PendingReads();
    this.#served.set(connection, { fd, answerer, fs, pending, onError, measure, alive: true, end });
    this.#tell({ kind: 'add', connection, fd, spec });
    const update = (news: unknown) => this.#tell({ kind: 'update', connection, update: news });
    return { ended, update };
  }

  /**
   * Has the reading thread do a work that its module knows (`ReaderAbilities.begin`), between requests. Undefined if it could not, or ended
   * before.
   */
  work(work: unknown): Promise<unknown> {
    if (this.#isGone || this.#closed !== undefined) return Promise.resolve(undefined);
    const id = ++this.#last;
    return new Promise((resolve) => {
      this.#works.set(id, resolve);
      this.#tell({ kind: 'work', id, work });
    });
  }

  /** Has the reading thread give back memory: it makes so little garbage that it would not look for any by itself. */
  collectGarbage(): void {
    this.#tell({ kind: 'collect' });
  }

  /** Ends the reading thread. Connections that still live are not answered any more; their descriptors stay open. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const served of this.#served.values()) served.alive = false;
    this.#tell({ kind: 'stop' });
    await this.#exited;
    closeSync(this.#wakeFd);
  }

  #tell(message: ToReader): void {
    if (this.#closed !== undefined && message.kind !== 'stop') return;
    this.#worker.postMessage(message);
    writeSync(this.#wakeFd, WAKE);
  }

  #take(message: FromReader): void {
    if (message.kind === 'worked') {
      this.#works.get(message.id)?.(message.result);
      this.#works.delete(message.id);
      return;
    }
    const served = this.#served.get(message.connection);
    if (served === undefined) return;
    if (message.kind === 'ended') this.#end(message.connection, served);
    else if (message.kind === 'error')
      served.onError?.(message.operation, message.node, new Error(message.message));
    else if (served.alive) this.#answer(served, Buffer.from(message.bytes.buffer));
  }

  #answer(served: Served, bytes: Buffer): void {
    const request = decodeRequest(bytes, bytes.length);
    if (request === undefined) return;
    if (request.opcode === opcode.INTERRUPT) {
      served.pending.interrupt(decodeInterrupted(request.body));
      return;
    }
    const answer = served.answerer.answer(request, this.#reply);
    if (typeof answer === 'number') {
      if (answer > 0) writeReply(served.fd, this.#reply, answer);
      return;
    }
    this.#read(served, { unique: request.unique, reader: request.thread }, answer);
  }

  async #read(
    served: Served,
    from: { unique: Buffer; reader: number },
    { node, offset, size }: LaterRead,
  ): Promise<void> {
    const { unique } = from;
    const reply = takeMemory(OUT_HEADER_SIZE + size);
    const target = reply.subarray(OUT_HEADER_SIZE);
    let length: number;
    try {
      const work = (signal: AbortSignal) => served.fs.read(node, offset, target, signal);
      length = writeHeader(reply, unique, { size: await served.measure(served.pending.run(from, work)) });
    } catch (error) {
      const errno = -negativeErrno(error);
      length = writeHeader(reply, unique, { errno });
      if (errno === EIO) served.onError?.('read', node, error);
    }
    if (served.alive) writeReply(served.fd, reply, length);
    giveMemoryBack(reply);
  }

  #end(connection: number, served: Served): void {
    this.#served.delete(connection);
    served.alive = false;
    served.pending.interruptAll();
    closeSync(served.fd);
    served.end();
  }
}
