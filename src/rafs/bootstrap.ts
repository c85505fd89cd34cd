import type { BlobEntry } from './blob-entry.js';
import type { InodeType, Xattr } from './tree.js';

/** A blob of a bootstrap, as its blob table describes it. */
export type RafsBlob = BlobEntry;

/** One inode as read from a bootstrap. */
export interface DiskInode {
  /** Number of the inode: its place in the meta area in units of 32 bytes. Stable for one bootstrap. */
  readonly nid: number;
  readonly type: InodeType;
  readonly mode: number;
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly nlink: number;
  /** For char and block devices. */
  readonly rdev: { major: number; minor: number } | undefined;
  readonly hasXattrs: boolean;
  /** Chunks of a regular file, else 0. */
  readonly chunkCount: number;
}

export class Bootstrap {
  readonly name: string = '';
  readonly rootNid: number = 0;
  readonly chunkSize: number = 0;
  /** `RafsFlag` bits. */
  readonly flags: number = 0;
  readonly blobs: readonly RafsBlob[] = [];
  /** Prefetch table: nids in order of importance. */
  readonly prefetchNids: readonly number[] = [];
  /** For statfs: names in the image, and 4096-byte blocks of all decoded blobs. */
  readonly inodeCount: number = 0;
  readonly blocks: number = 0;
  static parse(bytes: Buffer, name = 'bootstrap'): Bootstrap {
    throw new Error(`${bytes.length}${name}`);
  }
  inode(nid: number): DiskInode {
    throw new Error(`${nid}`);
  }
  lookup(dir: DiskInode, name: Buffer): number | undefined {
    throw new Error(`${dir.nid}${name}`);
  }
  *readdir(dir: DiskInode): Generator<{ name: Buffer; nid: number; type: InodeType }> {
    yield { name: Buffer.alloc(0), nid: dir.nid, type: 'dir' };
  }
  readlink(inode: DiskInode): Buffer {
    throw new Error(`${inode.nid}`);
  }
  xattrs(inode: DiskInode): Xattr[] {
    throw new Error(`${inode.nid}`);
  }
  chunkAt(inode: DiskInode, k: number): { blobIndex: number; chunkIndex: number; decodedOffset: number } {
    throw new Error(`${inode.nid}${k}`);
  }
  chunkDigest(blobIndex: number, chunkIndex: number): Buffer | undefined {
    throw new Error(`${blobIndex}${chunkIndex}`);
  }
}
