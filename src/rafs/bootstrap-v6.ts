import { RafterError } from '../errors.js';
import { malformed } from './binary.js';
import type { Bootstrap, ChunkAddress, RafsBlob } from './bootstrap.js';
import { type BootstrapTables, readBootstrapTables } from './bootstrap-tables.js';
import { ChunkDigests } from './chunk-digests.js';
import { CHUNK_ENTRY_SIZE, decodeChunkIndexEntry, HOLE_BLOCK } from './chunk-index.js';
import { type DirectoryEntry, findInDirectory, readDirectory } from './directory.js';
import { type DiskInode, type InodeArea, readInode } from './disk-inode.js';
import { isSoundTree, lookAtTree } from './sound-tree.js';
import type { Xattr } from './tree.js';
import { decodeXattrs } from './xattr.js';

/** A RAFS v6 bootstrap: an EROFS image with RAFS' tables. Keeps the bytes and decodes on demand. */
export class BootstrapV6 implements Bootstrap {
  readonly version = 6;
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
   * Throws MALFORMED, LIMIT_EXCEEDED, or UNSUPPORTED (unknown blob features).
   */
  static parse(bytes: Buffer, name: string): BootstrapV6 {
    const bootstrap = new BootstrapV6(bytes, name);
    const root = bootstrap.inode(bootstrap.rootNid);
    if (root.type !== 'dir') throw malformed(name, 'root inode', bootstrap.rootNid, `is a ${root.type}`);
    return bootstrap;
  }

  get size(): number {
    return this.#area.bytes.length;
  }

  get rootNid(): number {
    return this.#tables.superblock.rootNid;
  }

  get chunkSize(): number {
    return this.#tables.extended.chunkSize;
  }

  get flags(): number {
    return this.#tables.extended.flags;
  }

  get blobs(): readonly RafsBlob[] {
    return this.#tables.blobs;
  }

  get prefetchNids(): readonly number[] {
    return this.#tables.prefetchNids;
  }

  get inodeCount(): number {
    return this.#tables.superblock.inos;
  }

  get blocks(): number {
    return this.#tables.superblock.blocks;
  }

  /** 4096; 512 in tarfs mode. */
  get blockSize(): number {
    return this.#tables.blockSize;
  }

  isSound(): boolean {
    return isSoundTree({ area: this.#area, rootNid: this.rootNid, blobs: this.blobs });
  }

  beginLook(): (until: number) => boolean | undefined {
    return lookAtTree({ area: this.#area, rootNid: this.rootNid, blobs: this.blobs });
  }

  inode(nid: number): DiskInode {
    return readInode(this.#area, nid);
  }

  lookup(dir: DiskInode, name: Buffer): number | undefined {
    this.#require(dir, 'dir');
    return findInDirectory(this.#area, dir, name);
  }

  readdir(dir: DiskInode): Generator<DirectoryEntry> {
    this.#require(dir, 'dir');
    return readDirectory(this.#area, dir);
  }

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

  xattrs(inode: DiskInode): Xattr[] {
    return decodeXattrs(this.#area.bytes, inode.xattrOffset, inode.xattrSize, this.name);
  }

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

  /** The first call builds an index of eight bytes per chunk. */
  chunkDigest(blobIndex: number, chunkIndex: number): Buffer | undefined {
    this.#digests ??= new ChunkDigests(this.#area.bytes, this.#tables.extended.chunkTable, this.blobs.length);
    return this.#digests.find(blobIndex, chunkIndex);
  }

  /** The blobs hold their chunk maps themselves. */
  chunkMap(): undefined {
    return undefined;
  }

  #require(inode: DiskInode, type: DiskInode['type']): void {
    if (inode.type !== type) throw new Error(`inode ${inode.nid} is a ${inode.type}, not a ${type}`);
  }
}
