import type { BlobEntry } from './blob-entry.js';
import type { BlobMeta } from './blob-meta.js';
import { BootstrapV6 } from './bootstrap-v6.js';
import type { DirectoryEntry } from './directory.js';
import type { DiskInode } from './disk-inode.js';
import type { Xattr } from './tree.js';
import { BootstrapV5 } from './v5/bootstrap-v5.js';
import { isRafsV5 } from './v5/superblock.js';

export type { DiskInode } from './disk-inode.js';

/** A blob of a bootstrap, as its blob table describes it. */
export type RafsBlob = BlobEntry;

/** Where a chunk of a file is. */
export interface ChunkAddress {
  /** Position in `blobs`. */
  blobIndex: number;
  /** Position in the blob's chunk map. */
  chunkIndex: number;
  /** Byte offset in the blob's decoded address space. */
  decodedOffset: number;
}

/** Where the chunks of one blob are stored, ascending in decoded space. `BlobMeta` is one. */
export type ChunkMap = Pick<BlobMeta, 'chunkCount' | 'chunk' | 'chunkAtDecoded'> &
  Partial<Pick<BlobMeta, 'readPlaces'>>;

/**
 * The metadata of an image, in whichever version of RAFS. What is read is checked first: damaged or hostile bytes end in
 * MALFORMED naming field and offset.
 */
export interface Bootstrap {
  readonly version: 5 | 6;
  /** For messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly rootNid: number;
  /** Bytes of a chunk: chunk k of a file begins at k * chunkSize. */
  readonly chunkSize: number;
  /** `RafsFlag` bits. */
  readonly flags: number;
  /** Blob table; the kernel's device i + 1 is the decoded blob i. */
  readonly blobs: readonly RafsBlob[];
  /** Prefetch table: nids of files and directories, most important first. They are not checked to be inodes. */
  readonly prefetchNids: readonly number[];
  /** Names in the image (statfs). A writer's claim; readers do not rely on it. */
  readonly inodeCount: number;
  /** Blocks of all decoded blobs (statfs), in units of `blockSize` bytes. A writer's claim. */
  readonly blocks: number;
  /** 4096; 512 in tarfs mode. */
  readonly blockSize: number;
  /**
   * True if a quick look at everything that the kernel's EROFS would read found nothing wrong. False says nothing, except that reading it
   * all piece by piece would tell. Absent: there is no quick look.
   */
  isSound?(): boolean;
  /** The same in parts, see `lookAtTree`. */
  beginLook?(): (until: number) => boolean | undefined;
  /** Inode number `nid`. MALFORMED if there is no good inode. */
  inode(nid: number): DiskInode;
  /** nid of `name` in the directory `dir`, "." and ".." included; undefined if there is no such name. */
  lookup(dir: DiskInode, name: Buffer): number | undefined;
  /** The names in `dir` in byte order, "." and ".." included. */
  readdir(dir: DiskInode): Generator<DirectoryEntry>;
  /** Target of a symlink, 1 to 4095 bytes without NUL. A copy. */
  readlink(inode: DiskInode): Buffer;
  /** All xattrs of `inode`, in stored order. Copies. */
  xattrs(inode: DiskInode): Xattr[];
  /** Chunk `k` of a regular file, k from 0 to chunkCount - 1. MALFORMED if it is outside its blob. */
  chunkAt(inode: DiskInode, k: number): ChunkAddress;
  /** Digest of the raw bytes of a chunk (32 bytes, a view); undefined if the bootstrap does not list the chunk. */
  chunkDigest(blobIndex: number, chunkIndex: number): Buffer | undefined;
  /** The chunk map of a blob if the bootstrap holds it; undefined if the blob does. */
  chunkMap(blobIndex: number): ChunkMap | undefined;
}

/**
 * Opens a bootstrap: checks superblocks and tables and that the root is a directory. `bytes` must not change afterwards;
 * `name` says in messages whose bootstrap it is. Throws MALFORMED, LIMIT_EXCEEDED, or UNSUPPORTED (unknown features, versions before 5).
 */
export function parseBootstrap(bytes: Buffer, name = 'bootstrap'): Bootstrap {
  return isRafsV5(bytes) ? BootstrapV5.parse(bytes, name) : BootstrapV6.parse(bytes, name);
}
