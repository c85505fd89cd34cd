import { RafterError } from '../errors.js';
import { malformed } from './binary.js';
import type { BlobEntry } from './blob-entry.js';
import { type BootstrapTables, readBootstrapTables } from './bootstrap-tables.js';
import { ChunkDigests } from './chunk-digests.js';
import { CHUNK_ENTRY_SIZE, decodeChunkIndexEntry, HOLE_BLOCK } from './chunk-index.js';
import { type DirectoryEntry, findInDirectory, readDirectory } from './directory.js';
import { type DiskInode, type InodeArea, readInode } from './disk-inode.js';
import type { Xattr } from './tree.js';
import { decodeXattrs } from './xattr.js';

export type { DiskInode } from './disk-inode.js';

/** A blob of a bootstrap, as its blob table describes it. */
export type RafsBlob = BlobEntry;

/** Where a chunk of a file is. */
export interface ChunkAddress {
  /** Position in `blobs`. */
  blobIndex: number;
  /** Position in the blob's chunk info array. */
  chunkIndex: number;
  /** Byte offset in the blob's decoded address space. */
  decodedOffset: number;
}

/**
 * Reads a RAFS v6 bootstrap: an EROFS image with RAFS' tables. It keeps the bytes and decodes on demand. What is read is
 * checked first: damaged or hostile bytes end in MALFORMED naming field and offset.
 */
export class Bootstrap {
  /** Name for messages. */
  readonly name: string;
  readonly #tables: BootstrapTables;
  readonly #area: InodeArea;
  #digests: ChunkDigests | undefined;

  private constructor(bytes: Buffer, name: string) {
    this.name = name;
    this.#tables = readBootstrapTables(bytes, name);
    const { blockSize, metaOffset, extended } = this.#tables;
    this.#area = { bytes, name, blockSize, metaOffset, chunkSize: extended.chunkSize };
  }

  /**
   * Checks superblocks and tables and that the root is a directory. `bytes` must not change afterwards.
   * Throws MALFORMED, LIMIT_EXCEEDED, or UNSUPPORTED (RAFS v5, unknown blob features).
   */
  static parse(bytes: Buffer, name = 'bootstrap'): Bootstrap {
    const bootstrap = new Bootstrap(bytes, name);
    const root = bootstrap.inode(bootstrap.rootNid);
    if (root.type !== 'dir') throw malformed(name, 'root inode', bootstrap.rootNid, `is a ${root.type}`);
    return bootstrap;
  }

  get rootNid(): number {
    return this.#tables.superblock.rootNid;
  }

  /** Bytes of a chunk: chunk k of a file begins at k * chunkSize. */
  get chunkSize(): number {
    return this.#tables.extended.chunkSize;
  }

  /** `RafsFlag` bits. */
  get flags(): number {
    return this.#tables.extended.flags;
  }

  /** Blob table; the kernel's device i + 1 is the decoded blob i. */
  get blobs(): readonly RafsBlob[] {
    return this.#tables.blobs;
  }

  /** Prefetch table: nids of files and directories, most important first. They are not checked to be inodes. */
  get prefetchNids(): readonly number[] {
    return this.#tables.prefetchNids;
  }

  /** Names in the image (statfs). A writer's claim; readers do not rely on it. */
  get inodeCount(): number {
    return this.#tables.superblock.inos;
  }

  /** Blocks of all decoded blobs (statfs), in units of `blockSize` bytes. A writer's claim. */
  get blocks(): number {
    return this.#tables.superblock.blocks;
  }

  /** 4096; 512 in tarfs mode. */
  get blockSize(): number {
    return this.#tables.blockSize;
  }

  /** Inode number `nid`. MALFORMED if there is no good inode. */
  inode(nid: number): DiskInode {
    return readInode(this.#area, nid);
  }

  /** nid of `name` in the directory `dir`, "." and ".." included; undefined if there is no such name. */
  lookup(dir: DiskInode, name: Buffer): number | undefined {
    this.#require(dir, 'dir');
    return findInDirectory(this.#area, dir, name);
  }

  /** The names in `dir` in byte order, "." and ".." included. */
  readdir(dir: DiskInode): Generator<DirectoryEntry> {
    this.#require(dir, 'dir');
    return readDirectory(this.#area, dir);
  }

  /** Target of a symlink, 1 to 4095 bytes without NUL. A copy. */
  readlink(inode: DiskInode): Buffer {
    this.#require(inode, 'symlink');
    const { bytes, blockSize } = this.#area;
    const tail = inode.tailOffset < 0 ? 0 : inode.size % blockSize;
    const target = Buffer.concat([
      bytes.subarray(inode.dataOffset, inode.dataOffset + inode.size - tail),
      bytes.subarray(inode.tailOffset, inode.tailOffset + tail),
    ]);
    if (target.includes(0))
      throw malformed(this.name, `inode ${inode.nid} target`, inode.dataOffset, 'holds NUL');
    return target;
  }

  /** All xattrs of `inode`, in stored order. Copies. */
  xattrs(inode: DiskInode): Xattr[] {
    return decodeXattrs(this.#area.bytes, inode.xattrOffset, inode.xattrSize, this.name);
  }

  /** Chunk `k` of a regular file, k from 0 to chunkCount - 1. MALFORMED if it is outside its blob. */
  chunkAt(inode: DiskInode, k: number): ChunkAddress {
    this.#require(inode, 'file');
    if (!(Number.isInteger(k) && k >= 0 && k < inode.chunkCount)) {
      throw new Error(`chunk ${k} of a file of ${inode.chunkCount}`);
    }
    const at = inode.dataOffset + k * CHUNK_ENTRY_SIZE;
    const { blobIndex, chunkIndex, block } = decodeChunkIndexEntry(this.#area.bytes, at);
    const wrong = (problem: string) =>
      malformed(this.name, `chunk index entry of inode ${inode.nid}`, at, problem);
    if (block === HOLE_BLOCK)
      throw new RafterError('UNSUPPORTED', wrong('is a hole, which RAFS does not use').message);
    const blob = this.blobs[blobIndex];
    if (!blob) throw wrong(`device ${blobIndex + 1} of ${this.blobs.length}`);
    if (chunkIndex >= blob.chunkCount) throw wrong(`chunk ${chunkIndex} of a blob of ${blob.chunkCount}`);
    const decodedOffset = block * this.blockSize;
    if (decodedOffset >= blob.uncompressedSize) {
      throw wrong(`offset ${decodedOffset} in a blob of ${blob.uncompressedSize}`);
    }
    return { blobIndex, chunkIndex, decodedOffset };
  }

  /**
   * Digest of the raw bytes of a chunk (32 bytes, a view), undefined if the chunk table does not list it. The first call
   * builds an index of eight bytes per chunk.
   */
  chunkDigest(blobIndex: number, chunkIndex: number): Buffer | undefined {
    this.#digests ??= new ChunkDigests(this.#area.bytes, this.#tables.extended.chunkTable, this.blobs.length);
    return this.#digests.find(blobIndex, chunkIndex);
  }

  #require(inode: DiskInode, type: DiskInode['type']): void {
    if (inode.type !== type) throw new Error(`inode ${inode.nid} is a ${inode.type}, not a ${type}`);
  }
}
