import type { BlobRef } from './blob-ref.js';

export type { BlobRef } from './blob-ref.js';

/** One extended attribute. */
export interface Xattr {
  /** The full key, for example `security.capability`. */
  name: Buffer;
  value: Buffer;
}

/** The kinds of inodes that a file system image can hold. */
export type InodeType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

/** What every inode has. */
interface InodeCommon {
  /** The full st_mode: S_IFMT bits of the type and the permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970, may be negative, and nanoseconds 0 to 999999999. */
  mtimeSec: number;
  mtimeNsec: number;
  xattrs: readonly Xattr[];
}

/** Where the bytes of a piece of a file are: one chunk of one blob. Files may share chunks. */
export interface Chunk {
  blob: BlobRef;
  /** Position in the blob's chunk info array. */
  index: number;
  /** Digest of the raw bytes, 32 bytes. */
  digest: Buffer;
  /** CRC-32C of the raw bytes; counts if `flags` has HAS_CRC32. */
  crc: number;
  /** Raw bytes. */
  size: number;
  /** Offset in the blob's decoded address space, a multiple of 4096. */
  decodedOffset: number;
  /** Place in the file; both 0 for a member of a batch. */
  storedOffset: number;
  storedSize: number;
  /** `ChunkFlag` bits of the bootstrap's chunk table. */
  flags: number;
}

/** A regular file: `chunks[k]` holds bytes k * chunkSize and on; there are exactly ceil(size / chunkSize). */
export interface FileInode extends InodeCommon {
  type: 'file';
  size: number;
  chunks: Chunk[];
}

/** What an image holds for one inode, independent of where it came from. */
export type Inode =
  | FileInode
  | (InodeCommon & { type: 'dir' })
  | (InodeCommon & { type: 'symlink'; target: Buffer })
  | (InodeCommon & { type: 'char' | 'block'; rdev: { major: number; minor: number } })
  | (InodeCommon & { type: 'fifo' | 'socket' });

/**
 * A name in a tree. Two nodes that share the same `inode` object are hard links to it (any type but dir).
 */
export interface TreeNode {
  inode: Inode;
  /** For directories: the children by name, the key being the name's bytes as latin1 text. */
  children?: Map<string, TreeNode> | undefined;
}
