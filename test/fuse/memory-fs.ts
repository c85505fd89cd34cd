import { constants } from 'node:fs';
import type { Attributes, FileSystem } from '../../src/fuse/file-system.js';
import { FsError } from '../../src/fuse/fs-error.js';

interface MemoryNode {
  attributes: Attributes;
  entries?: [name: Buffer, node: number][];
  target?: Buffer;
  content?: (offset: number, target: Buffer, signal?: AbortSignal) => Promise<number>;
  xattrs?: [name: Buffer, value: Buffer][];
}

type NodeOptions = Partial<Omit<Attributes, 'node'>> & Omit<MemoryNode, 'attributes'>;

/** A file system for tests of the transport, built node by node; node 1 is the root. */
export class MemoryFs implements FileSystem {
  readonly root = 1;
  readonly #nodes = new Map<number, MemoryNode>();
  lookups = 0;
  open?: (node: number) => number;

  constructor() {
    this.#set(1, { mode: constants.S_IFDIR | 0o755, entries: [] });
  }

  /** Adds a node to directory `parent` and returns it. `number` chooses the inode number. */
  add(parent: number, name: string | Buffer, options: NodeOptions, number = this.#nodes.size + 1): number {
    this.#set(number, options);
    this.link(parent, name, number);
    return number;
  }

  addDirectory(parent: number, name: string | Buffer): number {
    return this.add(parent, name, { mode: constants.S_IFDIR | 0o755, entries: [] });
  }

  addFile(parent: number, name: string | Buffer, content: Buffer, options: NodeOptions = {}): number {
    const read = async (offset: number, target: Buffer) => content.copy(target, 0, offset);
    return this.add(parent, name, {
      mode: constants.S_IFREG | 0o644,
      size: content.length,
      content: read,
      ...options,
    });
  }

  link(parent: number, name: string | Buffer, node: number): void {
    this.#nodes.get(parent)!.entries!.push([Buffer.from(name as string), node]);
  }

  #set(number: number, { entries, target, content, xattrs, ...attributes }: NodeOptions): void {
    const defaults = { mode: 0, nlink: 1, uid: 0, gid: 0, size: 0, mtimeSec: 0, mtimeNsec: 0 };
    this.#nodes.set(number, {
      attributes: { ...defaults, ...attributes, node: number },
      ...(entries && { entries }),
      ...(target && { target }),
      ...(content && { content }),
      ...(xattrs && { xattrs }),
    });
  }

  lookup(parent: number, name: Buffer): number {
    this.lookups++;
    const entries = this.#nodes.get(parent)!.entries;
    if (entries === undefined) throw new FsError('ENOTDIR', 'not a directory');
    const entry = entries.find(([known]) => known.equals(name));
    if (entry === undefined) throw new FsError('ENOENT', name.toString());
    return entry[1];
  }

  getattr(node: number): Attributes {
    return this.#nodes.get(node)!.attributes;
  }

  *readdir(node: number) {
    const own = (name: string) => ({ name: Buffer.from(name), node, mode: constants.S_IFDIR });
    yield own('.');
    yield own('..');
    for (const [name, child] of this.#nodes.get(node)!.entries!)
      yield { name, node: child, mode: this.getattr(child).mode & constants.S_IFMT };
  }

  readlink(node: number): Buffer {
    return this.#nodes.get(node)!.target!;
  }

  read(node: number, offset: number, target: Buffer, signal?: AbortSignal): Promise<number> {
    return this.#nodes.get(node)!.content!(offset, target, signal);
  }

  getxattr(node: number, name: Buffer): Buffer {
    const xattr = this.#nodes.get(node)!.xattrs?.find(([known]) => known.equals(name));
    if (xattr === undefined) throw new FsError('ENODATA', name.toString());
    return xattr[1];
  }

  listxattr(node: number): Buffer[] {
    return (this.#nodes.get(node)!.xattrs ?? []).map(([name]) => name);
  }

  statfs() {
    return { blockSize: 4096, blocks: 2 ** 33 + 5, files: this.#nodes.size, nameMax: 255 };
  }
}
