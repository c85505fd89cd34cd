/** Names one inode of a file system for as long as it is mounted: a positive safe integer, also its inode number. */
export type NodeId = number;

/** What stat(2) shows. */
export interface Attributes {
  node: NodeId;
  /** Full st_mode: type and permission bits. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** Of character and block devices. */
  rdev?: { major: number; minor: number } | undefined;
  /** Bytes. */
  size: number;
  /** Seconds since 1970, negative before. */
  mtimeSec: number;
  mtimeNsec: number;
}

export interface DirectoryEntry {
  /** As it is on disk, `.` and `..` included. */
  name: Buffer;
  node: NodeId;
  /** Type bits of st_mode. */
  mode: number;
}

export interface FileSystemStats {
  /** Bytes of one block. */
  blockSize: number;
  blocks: number;
  files: number;
  /** Longest file name in bytes. */
  nameMax: number;
}

/**
 * A read-only tree: what a FUSE transport asks of whatever it serves. Unless it has `changes`, it stays as it is while it
 * is mounted.
 *
 * Names, link targets and xattr names are bytes: a kernel promises no encoding. A failed operation throws `FsError`;
 * anything else that is thrown reaches the reader as EIO. Only `read` may wait: everything else answers from memory.
 */
export interface FileSystem {
  readonly root: NodeId;
  /** The node called `name` in directory `parent`. ENOENT, ENOTDIR. */
  lookup(parent: NodeId, name: Buffer): NodeId;
  getattr(node: NodeId): Attributes;
  /** Every entry of a directory. ENOTDIR. */
  readdir(node: NodeId): Iterable<DirectoryEntry>;
  /** Target of a symbolic link. EINVAL if it is something else. */
  readlink(node: NodeId): Buffer;
  /**
   * Fills `target` with the file's bytes from `offset` on and returns how many there were: less than `target.length`
   * only at the end of the file. Nothing writes to `target` after the promise has settled. `signal` is aborted when
   * nobody wants the bytes any more: EINTR.
   */
  read(node: NodeId, offset: number, target: Buffer, signal?: AbortSignal): Promise<number>;
  /**
   * The same at once if nothing has to be waited for; otherwise undefined, and `target` holds anything. Where it is
   * missing every read may wait.
   */
  readLocal?(node: NodeId, offset: number, target: Buffer): number | undefined;
  /**
   * Called when a file is opened; returns `openFlag`s. Without it opening costs no request, and pages stay cached from one
   * open to the next.
   */
  open?(node: NodeId): number;
  /** Called when the last descriptor of one `open` is closed. */
  release?(node: NodeId): void;
  /** True for a directory whose entries come and go. Without it nothing ever changes. */
  changes?(node: NodeId): boolean;
  /** Value of one extended attribute, by full name ("user.x"). ENODATA. */
  getxattr(node: NodeId, name: Buffer): Buffer;
  /** Full names of all extended attributes. */
  listxattr(node: NodeId): Buffer[];
  /** Sizes of what `node` belongs to. */
  statfs(node: NodeId): FileSystemStats;
}
