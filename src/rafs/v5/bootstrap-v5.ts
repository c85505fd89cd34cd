import { DIGEST_SIZE, type DigestAlgorithm } from '../../codec/digest.js';
import { RafterError } from '../../errors.js';
import { malformed } from '../binary.js';
import { BlobFeature } from '../blob-features.js';
import { checkChunks } from '../blob-meta-check.js';
import type { Bootstrap, ChunkAddress, RafsBlob } from '../bootstrap.js';
import { CHUNK_TABLE_ENTRY_SIZE, chunkTableDigest, decodeChunkPlace } from '../chunk-table.js';
import type { DirectoryEntry } from '../directory.js';
import type { DiskInode } from '../disk-inode.js';
import { BLOCK_SIZE } from '../limits.js';
import { decodePrefetchTable } from '../prefetch-table.js';
import type { Xattr } from '../tree.js';
import { readBlobTableV5 } from './blob-table.js';
import { type ChunkList, listChunks } from './chunk-list.js';
import { findChild, readChildren } from './directory.js';
import { type InodeV5, ROOT_INO, readInodeV5, recordCount, type V5Image } from './inode.js';
import { nameAt } from './inode-parts.js';
import { readSuperblockV5 } from './superblock.js';
import { decodeXattrsV5 } from './xattr.js';

/** Forms of blobs for which RAFS v5 has no place: of encrypted ones, which nydus-image writes, the key is nowhere. */
const FORMS_OF_V6 =
  BlobFeature.ZRAN |
  BlobFeature.SEPARATE |
  BlobFeature.TARFS |
  BlobFeature.BATCH |
  BlobFeature.ENCRYPTED |
  BlobFeature.EXTERNAL;

/**
 * A RAFS v5 bootstrap. Keeps the bytes and decodes on demand. A nid is the number of an inode, which is the index of its first
 * name in the inode table.
 */
export class BootstrapV5 implements Bootstrap {
  readonly version = 5;
  readonly rootNid = ROOT_INO;
  readonly blockSize = BLOCK_SIZE;
  readonly name: string;
  readonly blobs: readonly RafsBlob[];
  readonly prefetchNids: readonly number[];
  readonly #image: V5Image;
  #lists: ChunkList[] | undefined;

  private constructor(bytes: Buffer, name: string) {
    this.name = name;
    const superblock = readSuperblockV5(bytes, name);
    this.#image = { bytes, name, superblock };
    const { offset, size } = superblock.prefetchTable;
    this.prefetchNids = decodePrefetchTable(bytes, offset, size);
    const blobs = readBlobTableV5(bytes, superblock, name);
    this.blobs = superblock.extBlobTable.size > 0 ? blobs : this.#measured(blobs);
  }

  /**
   * Checks superblock and tables and that the root is a directory. `bytes` must not change afterwards.
   * Throws MALFORMED, LIMIT_EXCEEDED, or UNSUPPORTED (other versions, files with holes).
   */
  static parse(bytes: Buffer, name: string): BootstrapV5 {
    const bootstrap = new BootstrapV5(bytes, name);
    const root = bootstrap.inode(ROOT_INO);
    if (root.type !== 'dir') throw malformed(name, 'root inode', root.offset, `is a ${root.type}`);
    return bootstrap;
  }

  get chunkSize(): number {
    return this.#image.superblock.chunkSize;
  }

  get flags(): number {
    return this.#image.superblock.flags;
  }

  get inodeCount(): number {
    return recordCount(this.#image);
  }

  /** Distinct inodes, as the superblock counts them. */
  get distinctInodeCount(): number {
    return this.#image.superblock.inodesCount;
  }

  get size(): number {
    return this.#image.bytes.length;
  }

  /** Of chunks and inodes. */
  get digester(): DigestAlgorithm {
    return this.#image.superblock.choice.digester;
  }

  /** Whether chunks have numbers that mean something: old images have none. */
  get numbersChunks(): boolean {
    return this.#image.superblock.extBlobTable.size > 0;
  }

  get blocks(): number {
    return this.blobs.reduce(
      (sum, { uncompressedSize }) => sum + Math.ceil(uncompressedSize / BLOCK_SIZE),
      0,
    );
  }

  inode(nid: number): InodeV5 {
    const inode = readInodeV5(this.#image, nid);
    if (inode.nid !== nid)
      throw malformed(this.name, `inode ${nid}`, inode.offset, `is a second name of ${inode.nid}`);
    return inode;
  }

  /** The record for `index`, which for second names of hard links has another number. */
  record(index: number): InodeV5 {
    return readInodeV5(this.#image, index);
  }

  lookup(dir: DiskInode, name: Buffer): number | undefined {
    this.#require(dir, 'dir');
    return findChild(this.#image, this.inode(dir.nid), name);
  }

  readdir(dir: DiskInode): Generator<DirectoryEntry> {
    this.#require(dir, 'dir');
    return readChildren(this.#image, this.inode(dir.nid));
  }

  readlink(inode: DiskInode): Buffer {
    this.#require(inode, 'symlink');
    const target = Buffer.copyBytesFrom(this.#image.bytes, inode.dataOffset, inode.size);
    if (target.includes(0))
      throw malformed(this.name, `inode ${inode.nid} target`, inode.dataOffset, 'holds NUL');
    return target;
  }

  xattrs(inode: DiskInode): Xattr[] {
    return decodeXattrsV5(this.#image.bytes, inode.xattrOffset, inode.xattrSize, this.name);
  }

  chunkAt(inode: DiskInode, k: number): ChunkAddress {
    this.#require(inode, 'file');
    if (!(Number.isInteger(k) && k >= 0 && k < inode.chunkCount))
      throw new Error(`chunk ${k} of a file of ${inode.chunkCount}`);
    const at = inode.dataOffset + k * CHUNK_TABLE_ENTRY_SIZE;
    const { blobIndex, decodedOffset, fileOffset, size } = decodeChunkPlace(this.#image.bytes, at);
    const wrong = (problem: string) => malformed(this.name, `chunk ${k} of inode ${inode.nid}`, at, problem);
    const blob = this.blobs[blobIndex];
    if (!blob) throw wrong(`blob ${blobIndex} of ${this.blobs.length}`);
    const start = k * this.chunkSize;
    const expected = Math.min(this.chunkSize, inode.size - start);
    if (fileOffset !== start || size !== expected)
      throw wrong(`${size} bytes at ${fileOffset} of the file, expected ${expected} at ${start}`);
    if (decodedOffset + size > blob.uncompressedSize)
      throw wrong(`ends at ${decodedOffset + size} in a decoded blob of ${blob.uncompressedSize}`);
    const chunkIndex = this.chunkList(blobIndex).chunkNumber(decodedOffset);
    if (chunkIndex === undefined) throw wrong('is in no file that has a name of its own');
    return { blobIndex, chunkIndex, decodedOffset };
  }

  /** The digest that a file gives its chunk `k`, 0 to chunkCount - 1; a view. */
  fileChunkDigest(inode: InodeV5, k: number): Buffer {
    return chunkTableDigest(this.#image.bytes, inode.dataOffset + k * CHUNK_TABLE_ENTRY_SIZE);
  }

  /** The digest in a record, over contents, target or children: 32 bytes, a view. */
  inodeDigest({ offset }: InodeV5): Buffer {
    return this.#image.bytes.subarray(offset, offset + DIGEST_SIZE);
  }

  /** The name in a record, a view; "/" for the root. */
  nameOf({ offset }: InodeV5): Buffer {
    return nameAt(this.#image.bytes, offset);
  }

  chunkDigest(blobIndex: number, chunkIndex: number): Buffer | undefined {
    const list = this.#allLists()[blobIndex];
    if (!list || chunkIndex >= list.chunkCount) return undefined;
    return chunkTableDigest(this.#image.bytes, list.entryOffset(chunkIndex));
  }

  /** Throws MALFORMED for chunks that leave the blob or overlap, UNSUPPORTED for forms that RAFS v5 does not have. */
  chunkMap(blobIndex: number): ChunkList {
    const blob = this.blobs[blobIndex]!;
    const list = this.chunkList(blobIndex);
    const forms = blob.features & FORMS_OF_V6;
    if (forms !== 0) {
      const what =
        forms === BlobFeature.ENCRYPTED
          ? 'is encrypted, and RAFS v5 has no place for its key'
          : `has features 0x${forms.toString(16)}, which RAFS v5 does not have`;
      throw new RafterError('UNSUPPORTED', `${this.name}: blob ${blob.id} ${what}`);
    }
    checkChunks(list.chunks(), blob, `${this.name}: blob ${blob.id}`);
    return list;
  }

  /** The chunks of a blob. The first call reads all inodes. */
  chunkList(blobIndex: number): ChunkList {
    return this.#allLists()[blobIndex]!;
  }

  #allLists(): ChunkList[] {
    this.#lists ??= listChunks(this.#image, this.blobs.length);
    return this.#lists;
  }

  /** The blobs of an old image, as large as its chunks show. */
  #measured(blobs: RafsBlob[]): RafsBlob[] {
    const lists = listChunks(this.#image, blobs.length);
    this.#lists = lists;
    return blobs.map((blob, i) => {
      let [compressedSize, uncompressedSize] = [0, 0];
      for (const { storedOffset, storedSize, decodedOffset, size } of lists[i]!.chunks()) {
        compressedSize = Math.max(compressedSize, storedOffset + storedSize);
        uncompressedSize = Math.max(uncompressedSize, decodedOffset + size);
      }
      return { ...blob, chunkCount: lists[i]!.chunkCount, compressedSize, uncompressedSize };
    });
  }

  #require(inode: DiskInode, type: DiskInode['type']): void {
    if (inode.type !== type) throw new Error(`inode ${inode.nid} is a ${inode.type}, not a ${type}`);
  }
}
