import { constants } from 'node:fs';
import type { BlobCache } from '../../cache/blob-cache.js';
import { type SharedBlob, TrustedReader } from '../../cache/storage/shared-trust.js';
import type { ReaderFileSystem } from '../../fuse/device-reader.js';
import type { Attributes, DirectoryEntry, FileSystem, NodeId } from '../../fuse/file-system.js';
import { FsError } from '../../fuse/fs-error.js';
import { openFlag } from '../../fuse/protocol.js';
import { DEFAULT_READ_TIMEOUT } from '../read-timeout.js';
import { type SharedTrace, TraceMemory } from '../trace/trace-memory.js';
import { type BlobTrace, tracedReader } from '../trace/trace-reader.js';
import type { BlobReader } from './image-view.js';

/** Files of one mount that the kernel reads decoded blobs from. */
export interface BlobFile {
  readonly node: NodeId;
  readonly name: string;
  /** True while somebody waits for bytes of it. */
  readonly isBusy: boolean;
  /** Settles when the kernel has closed the file; at once if it never opened it. */
  closed(): Promise<void>;
  /** Fails what is being read, and all that is read from now on. */
  giveUp(): void;
  /** Takes the file out of the directory. */
  remove(): void;
}

/** News for the reading thread's view of the directory. */
export type BlobDirectoryUpdate =
  | {
      kind: 'add';
      node: NodeId;
      size: number;
      blob: SharedBlob | undefined;
      /** Where reads are noted, and as reads of which blob, if the mount is traced. */
      trace: { shared: SharedTrace; blob: number } | undefined;
    }
  | { kind: 'remove'; node: NodeId };

interface Entry {
  node: NodeId;
  name: string;
  blob: BlobCache;
  reader: BlobReader;
  size: number;
  /** How long a read may take, in seconds. */
  readTimeout: number;
  opens: number;
  /** Reads that are not answered yet. */
  reads: number;
  givenUp: AbortController;
  onClosed: (() => void)[];
}

interface FileOptions {
  open?: NodeId;
  readTimeout?: number | undefined;
  trace?: BlobTrace | undefined;
}

const ROOT = 1;
const BLOCK_SIZE = 4096;
const NAME_MAX = 255;
/**
 * The one FUSE file system of the erofs driver: a flat directory with a file for each blob that the kernel reads from and that
 * is not complete on disk. A file is a blob in decoded address space, as one image trusts it.
 */
export class BlobDirectory implements FileSystem {
  readonly root = ROOT;
  readonly #byName = new Map<string, Entry>();
  readonly #byNode = new Map<NodeId, Entry>();
  readonly #update: (update: BlobDirectoryUpdate) => void;
  /** Above every number of an earlier daemon: the kernel may still know those. */
  #last = Math.floor(Date.now() / 1000) * 1024;

  /** `update` carries news to the reading thread. */
  constructor(update: (update: BlobDirectoryUpdate) => void) {
    this.#update = update;
  }

  /**
   * Adds a file `name` with the decoded bytes of `blob`. `open` is the node of one that the kernel has open since the time of
   * another daemon; `readTimeout` says after how many seconds a read fails. Reads are noted in `trace`.
   */
  add(
    name: string,
    blob: BlobCache,
    { open, readTimeout = DEFAULT_READ_TIMEOUT, trace }: FileOptions = {},
  ): BlobFile {
    const node = open ?? this.#last + 1;
    this.#last = Math.max(this.#last, node);
    const size = Math.ceil(blob.layout.decodedSize / BLOCK_SIZE) * BLOCK_SIZE;
    const entry: Entry = {
      node,
      name,
      blob,
      reader: tracedReader(blob, trace),
      size,
      readTimeout,
      opens: open === undefined ? 0 : 1,
      reads: 0,
      givenUp: new AbortController(),
      onClosed: [],
    };
    this.#byName.set(name, entry);
    this.#byNode.set(node, entry);
    const shared = trace && { shared: trace.memory.shared, blob: trace.blob };
    this.#update({ kind: 'add', node, size, blob: blob.share(), trace: shared });
    const closed = () =>
      new Promise<void>((resolve) => {
        if (entry.opens === 0) resolve();
        else entry.onClosed.push(resolve);
      });
    const remove = () => {
      this.#byName.delete(name);
      this.#byNode.delete(node);
      this.#update({ kind: 'remove', node });
    };
    return {
      node,
      name,
      get isBusy() {
        return entry.reads > 0;
      },
      closed,
      giveUp: () => entry.givenUp.abort(),
      remove,
    };
  }

  /** For messages. */
  nameOf(node: NodeId): string {
    return this.#byNode.get(node)?.name ?? '';
  }

  lookup(parent: NodeId, name: Buffer): NodeId {
    if (parent !== ROOT) throw new FsError('ENOTDIR', `node ${parent} is a file`);
    const entry = this.#byName.get(name.toString('latin1'));
    if (entry === undefined) throw new FsError('ENOENT', 'no such blob');
    return entry.node;
  }

  getattr(node: NodeId): Attributes {
    const own = { node, nlink: 1, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 };
    if (node === ROOT) return { ...own, mode: constants.S_IFDIR | 0o700, size: 0 };
    return { ...own, mode: constants.S_IFREG | 0o400, size: this.#entry(node).size };
  }

  *readdir(node: NodeId): Generator<DirectoryEntry> {
    if (node !== ROOT) throw new FsError('ENOTDIR', `node ${node} is a file`);
    for (const name of ['.', '..']) yield { name: Buffer.from(name), node: ROOT, mode: constants.S_IFDIR };
    for (const entry of this.#byName.values())
      yield { name: Buffer.from(entry.name), node: entry.node, mode: constants.S_IFREG };
  }

  readlink(): Buffer {
    throw new FsError('EINVAL', 'there are no symbolic links here');
  }

  /** The page cache is that of the EROFS mount: this one keeps nothing. */
  open(node: NodeId): number {
    this.#entry(node).opens++;
    return openFlag.DIRECT_IO;
  }

  release(node: NodeId): void {
    const entry = this.#byNode.get(node);
    if (entry === undefined || --entry.opens > 0) return;
    for (const done of entry.onClosed.splice(0)) done();
  }

  async read(node: NodeId, offset: number, target: Buffer, signal?: AbortSignal): Promise<number> {
    const entry = this.#entry(node);
    const { blob, reader, size, readTimeout, givenUp } = entry;
    const length = Math.max(Math.min(target.length, size - offset), 0);
    // The last block may be longer than the blob.
    const known = Math.max(Math.min(length, blob.layout.decodedSize - offset), 0);
    const late = AbortSignal.timeout(readTimeout * 1000);
    entry.reads++;
    try {
      const gone = signal === undefined ? [givenUp.signal] : [givenUp.signal, signal];
      await reader.read(offset, target.subarray(0, known), AbortSignal.any([late, ...gone]));
    } catch (cause) {
      if (signal?.aborted || givenUp.signal.aborted) throw new FsError('EINTR', 'the reader gave up');
      const reason = late.aborted ? `no answer within ${readTimeout} s` : (cause as Error).message;
      throw new FsError('EIO', `blob ${blob.layout.id}, decoded offset ${offset}: ${reason}`, { cause });
    } finally {
      entry.reads--;
    }
    target.fill(0, known, length);
    return length;
  }

  getxattr(): Buffer {
    throw new FsError('ENODATA', 'there are no attributes here');
  }

  listxattr(): Buffer[] {
    return [];
  }

  changes(node: NodeId): boolean {
    return node === ROOT;
  }

  statfs() {
    const blocks = [...this.#byNode.values()].reduce((sum, { size }) => sum + size / BLOCK_SIZE, 0);
    return { blockSize: BLOCK_SIZE, blocks, files: this.#byNode.size, nameMax: NAME_MAX };
  }

  #entry(node: NodeId): Entry {
    const entry = this.#byNode.get(node);
    if (entry === undefined) throw new FsError('ENOENT', `there is no blob ${node} any more`);
    return entry;
  }
}

/** The directory as the reading thread sees it: it answers reads of what is local, and passes on everything else. */
export function openLocalBlobs(): ReaderFileSystem {
  const readers = new Map<NodeId, { reader: TrustedReader; size: number; trace: BlobTrace | undefined }>();
  return {
    reads: {
      readLocal(node, offset, target) {
        const found = readers.get(node);
        // The last block goes to the thread that knows how long the blob is.
        if (found === undefined || offset + target.length > found.size) return undefined;
        if (!found.reader.readLocal(offset, target)) return undefined;
        found.trace?.memory.local(found.trace.blob, offset, target.length);
        return target.length;
      },
    },
    update(news) {
      const update = news as BlobDirectoryUpdate;
      const known = readers.get(update.node);
      if (update.kind === 'add') {
        const { node, size, blob, trace } = update;
        if (blob !== undefined)
          readers.set(node, {
            reader: new TrustedReader(blob),
            size,
            trace: trace && { memory: new TraceMemory(trace.shared), blob: trace.blob },
          });
      } else if (known !== undefined) {
        readers.delete(update.node);
        known.reader.close();
      }
    },
    close() {
      for (const { reader } of readers.values()) reader.close();
    },
  };
}
