import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { messageOf } from '../errors.js';
import { collectGarbage } from '../os/collect-garbage.js';
import { Epoll } from '../os/epoll.js';
import { libc } from '../os/libc.js';
import { type Answer, type Answerer, createAnswerer, REPLY_BUFFER_SIZE } from './answer.js';
import { readRequest, writeReply } from './device.js';
import type { FromReader, ReaderData, ToReader } from './device-messages.js';
import type { FileSystem } from './file-system.js';
import { MAX_READ, OUT_HEADER_SIZE, opcode, REQUEST_BUFFER_SIZE } from './protocol.js';
import { writeHeader } from './reply.js';
import { decodeRead, decodeRequest, type FuseRequest } from './request.js';

/** A file system as this thread sees it. What it cannot answer at once is passed on to the main thread. */
export interface ReaderFileSystem {
  /** Answers everything but reads of what is not local. */
  fs?: FileSystem;
  /** Answers reads of what is local, where there is no `fs`; everything else is passed on. */
  reads?: Pick<Required<FileSystem>, 'readLocal'>;
  /** Takes what the main thread has to say about the file system. */
  update?(update: unknown): void;
  /** Gives back what it holds, once the mount has ended. */
  close?(): void;
}

/** What the thread can do. */
export interface ReaderAbilities {
  /** Makes the file system of a connection from what the main thread described. */
  setUp(spec: unknown): ReaderFileSystem;
  /** Begins a work: each call of what this returns does a few milliseconds of it, and returns the result when it is done. */
  begin?(work: unknown): () => unknown;
}

interface Served {
  connection: number;
  fd: number;
  answerer: Answerer | undefined;
  made: ReaderFileSystem | undefined;
}

/**
 * Reads and answers the requests of all FUSE connections of this process, in a worker thread that does nothing else: it
 * sleeps in the kernel until there is a request, and no event loop runs. Works that it is given are done between requests. Returns
 * when it is told to stop.
 */
export function readDevices(
  port: MessagePort,
  { wakeFd }: ReaderData,
  { setUp, begin }: ReaderAbilities,
): void {
  const epoll = new Epoll();
  const served = new Map<number, Served>();
  const request = Buffer.alloc(REQUEST_BUFFER_SIZE);
  const reply = Buffer.alloc(REPLY_BUFFER_SIZE);
  const tell = (message: FromReader) => port.postMessage(message);
  /** Works that are not done, by id. */
  const works = new Map<number, () => unknown>();

  function add({ connection, fd, spec }: Extract<ToReader, { kind: 'add' }>): void {
    const onError = (operation: string, node: number, error: unknown) =>
      tell({ kind: 'error', connection, operation, node, message: messageOf(error) });
    const made = spec === undefined ? undefined : setUp(spec);
    served.set(fd, {
      connection,
      fd,
      answerer: made?.fs && createAnswerer(made.fs, { onError }),
      made,
    });
    epoll.add(fd);
  }

  /** False when it is time to stop. */
  function takeMessages(): boolean {
    libc().read(wakeFd, Buffer.alloc(8), 8);
    for (let item = receiveMessageOnPort(port); item !== undefined; item = receiveMessageOnPort(port)) {
      const message = item.message as ToReader;
      if (message.kind === 'stop') return false;
      if (message.kind === 'add') add(message);
      else if (message.kind === 'work')
        works.set(
          message.id,
          lazily(() => begin?.(message.work)),
        );
      else if (message.kind === 'collect') collectGarbage();
      else
        for (const { connection, made } of served.values())
          if (connection === message.connection) made?.update?.(message.update);
    }
    return true;
  }

  /** Some milliseconds of the oldest work. */
  function goOn(): void {
    for (const [id, step] of works) {
      let result: unknown;
      let isOver = false;
      try {
        result = step();
      } catch {
        isOver = true;
      }
      if (!isOver && result === undefined) return;
      works.delete(id);
      tell({ kind: 'worked', id, result });
      return;
    }
  }

  function serveOne(one: Served): void {
    const length = readRequest(one.fd, request);
    if (length === 0) return;
    if (length === undefined) {
      epoll.remove(one.fd);
      served.delete(one.fd);
      one.made?.close?.();
      tell({ kind: 'ended', connection: one.connection });
      return;
    }
    const decoded = decodeRequest(request, length);
    if (decoded === undefined) return;
    const answer = answerAtOnce(one, decoded);
    if (typeof answer === 'number') {
      if (answer > 0) writeReply(one.fd, reply, answer);
    } else {
      tell({
        kind: 'request',
        connection: one.connection,
        bytes: Uint8Array.from(request.subarray(0, length)),
      });
    }
  }

  /** Undefined for what has to be passed on. */
  function answerAtOnce({ answerer, made }: Served, decoded: FuseRequest): Answer | undefined {
    if (decoded.opcode === opcode.INTERRUPT) return undefined;
    if (answerer !== undefined) return answerer.answer(decoded, reply);
    if (decoded.opcode !== opcode.READ || made?.reads === undefined) return undefined;
    const { offset, size } = decodeRead(decoded.body);
    if (size > MAX_READ) return undefined;
    const target = reply.subarray(OUT_HEADER_SIZE, OUT_HEADER_SIZE + size);
    const length = made.reads.readLocal(decoded.node, offset, target);
    return length === undefined ? undefined : writeHeader(reply, decoded.unique, { size: length });
  }

  epoll.add(wakeFd);
  for (;;) {
    for (const fd of epoll.wait({ block: works.size === 0 })) {
      if (fd === wakeFd) {
        if (!takeMessages()) return;
      } else {
        const one = served.get(fd);
        if (one !== undefined) serveOne(one);
      }
    }
    goOn();
  }
}

/** `make`, whose errors are those of the first step, too. */
function lazily(make: () => (() => unknown) | undefined): () => unknown {
  let step: (() => unknown) | undefined;
  return () => {
    step ??= make();
    if (step === undefined) throw new Error('this thread does no such work');
    return step();
  };
}
