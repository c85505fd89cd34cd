import { constants } from 'node:fs';
import { messageOf } from '../../errors.js';
import type {
  Attributes,
  DirectoryEntry,
  FileSystem,
  FileSystemStats,
  NodeId,
} from '../../fuse/file-system.js';
import { FsError } from '../../fuse/fs-error.js';
import type { Bootstrap, DiskInode } from '../../rafs/bootstrap.js';
import type { InodeType } from '../../rafs/tree.js';
import type { TouchSource } from '../../trace/trace.js';
import { DEFAULT_READ_TIMEOUT } from '../read-timeout.js';

/** Decoded bytes of one blob; a `BlobCache` is one. */
export interface BlobReader {
  /** Fills `target` with the verified bytes from decoded offset `offset` on. Returns what had to be waited for. */
  read(offset: number, target: Buffer, signal?: AbortSignal): Promise<TouchSource>;
  /** The same at once if nothing has to be waited for; otherwise false, and `target` holds anything. */
  readLocal?(offset: number, target: Buffer): boolean;
}

export interface ImageViewOptions {
  bootstrap: Bootstrap;
  /** One per blob of the bootstrap's blob table, in its order. */
  blobs: readonly BlobReader[];
  /** How long one read may take, in seconds, before its reader gets EIO. */
  readTimeout?: number | undefined;
}

/** What statfs counts in: EROFS blocks. */
const BLOCK_SIZE = 4096;
/** Longest file name (EROFS). */
const NAME_MAX = 255;

const typeBits: Record<InodeType, number> = {
  file: constants.S_IFREG,
  dir: constants.S_IFDIR,
  symlink: constants.S_IFLNK,
  char: constants.S_IFCHR,
  block: constants.S_IFBLK,
  fifo: constants.S_IFIFO,
  socket: constants.S_IFSOCK,
};

/**
 * An image as a file system: names and attributes from its bootstrap, contents from its blobs. A node is the
 * bootstrap's nid. Damage that is found on the way, in bootstrap or blobs, is EIO with a message that says where.
 */
export function createImageView(options: ImageViewOptions): FileSystem {
  const { bootstrap, blobs, readTimeout = DEFAULT_READ_TIMEOUT } = options;

  function directory(node: NodeId): DiskInode {
    const inode = bootstrap.inode(node);
    if (inode.type !== 'dir') throw new FsError('ENOTDIR', `nid ${node} is no directory`);
    return inode;
  }

  /** The part of `target` that the file fills from `offset` on, and where its bytes are. */
  function locate(node: NodeId, offset: number, target: Buffer): { length: number; spans: Span[] } {
    const inode = bootstrap.inode(node);
    if (inode.type === 'dir') throw new FsError('EISDIR', `nid ${node} is a directory`);
    if (inode.type !== 'file') throw new FsError('EINVAL', `nid ${node} is no regular file`);
    const length = Math.max(Math.min(target.length, inode.size - offset), 0);
    if (length === 0) return { length, spans: [] };
    return { length, spans: spansOf(bootstrap, inode, { offset, target: target.subarray(0, length) }) };
  }

  async function readSpan(span: Span, signal: AbortSignal): Promise<void> {
    const { blobIndex, chunkIndex, offset, target } = span;
    const where = () =>
      `blob ${bootstrap.blobs[blobIndex]?.id ?? `number ${blobIndex}`}, chunk ${chunkIndex}`;
    const blob = blobs[blobIndex];
    if (blob === undefined) throw new FsError('EIO', `${where()}: the image has no such blob`);
    try {
      if (blob.readLocal?.(offset, target)) return;
      await blob.read(offset, target, signal);
    } catch (cause) {
      const reason = signal.aborted ? `no answer within ${readTimeout} s` : messageOf(cause);
      throw new FsError('EIO', `${where()}: ${reason}`, { cause });
    }
  }

  return {
    root: bootstrap.rootNid,

    lookup(parent: NodeId, name: Buffer): NodeId {
      const found = bootstrap.lookup(directory(parent), name);
      if (found === undefined) throw new FsError('ENOENT', 'no such name');
      return found;
    },

    getattr(node: NodeId): Attributes {
      const { mode, nlink, uid, gid, rdev, size, mtimeSec, mtimeNsec } = bootstrap.inode(node);
      return { node, mode, nlink, uid, gid, rdev, size, mtimeSec, mtimeNsec };
    },

    *readdir(node: NodeId): Generator<DirectoryEntry> {
      for (const { name, nid, type } of bootstrap.readdir(directory(node)))
        yield { name, node: nid, mode: typeBits[type] };
    },

    readlink(node: NodeId): Buffer {
      const inode = bootstrap.inode(node);
      if (inode.type !== 'symlink') throw new FsError('EINVAL', `nid ${node} is no symbolic link`);
      return bootstrap.readlink(inode);
    },

    async read(node: NodeId, offset: number, target: Buffer, signal?: AbortSignal): Promise<number> {
      const { length, spans } = locate(node, offset, target);
      if (length === 0) return 0;
      const deadline = new AbortController();
      const timer = setTimeout(() => deadline.abort(), readTimeout * 1000);
      const either = signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, signal]);
      try {
        // Settled, not raced: `target` belongs to the caller again when this returns, so no span may still fill it.
        const results = await Promise.allSettled(spans.map((span) => readSpan(span, either)));
        if (signal?.aborted) throw new FsError('EINTR', 'the reader gave up');
        const failed = results.find((result) => result.status === 'rejected');
        if (failed !== undefined) throw failed.reason;
      } finally {
        clearTimeout(timer);
      }
      return length;
    },

    readLocal(node: NodeId, offset: number, target: Buffer): number | undefined {
      const { length, spans } = locate(node, offset, target);
      for (const span of spans)
        if (blobs[span.blobIndex]?.readLocal?.(span.offset, span.target) !== true) return undefined;
      return length;
    },

    getxattr(node: NodeId, name: Buffer): Buffer {
      const xattr = bootstrap.xattrs(bootstrap.inode(node)).find((candidate) => candidate.name.equals(name));
      if (xattr === undefined) throw new FsError('ENODATA', 'no such attribute');
      return xattr.value;
    },

    listxattr(node: NodeId): Buffer[] {
      return bootstrap.xattrs(bootstrap.inode(node)).map(({ name }) => name);
    },

    statfs(): FileSystemStats {
      const { blocks, inodeCount } = bootstrap;
      return { blockSize: BLOCK_SIZE, blocks, files: inodeCount, nameMax: NAME_MAX };
    },
  };
}

/** A piece of a read that is contiguous in one blob's decoded bytes. */
interface Span {
  blobIndex: number;
  /** Of its first chunk. */
  chunkIndex: number;
  /** Decoded offset in the blob. */
  offset: number;
  target: Buffer;
}

/** Where the bytes [offset, offset + target.length) of a file are; chunks that follow each other become one span. */
function spansOf(
  bootstrap: Bootstrap,
  inode: DiskInode,
  { offset, target }: { offset: number; target: Buffer },
): Span[] {
  const { chunkSize } = bootstrap;
  const spans: Span[] = [];
  for (let done = 0; done < target.length; ) {
    const position = offset + done;
    const { blobIndex, chunkIndex, decodedOffset } = bootstrap.chunkAt(
      inode,
      Math.floor(position / chunkSize),
    );
    const within = position % chunkSize;
    const length = Math.min(chunkSize - within, target.length - done);
    const last = spans.at(-1);
    if (last?.blobIndex === blobIndex && last.offset + last.target.length === decodedOffset + within)
      last.target = target.subarray(done - last.target.length, done + length);
    else
      spans.push({
        blobIndex,
        chunkIndex,
        offset: decodedOffset + within,
        target: target.subarray(done, done + length),
      });
    done += length;
  }
  return spans;
}
