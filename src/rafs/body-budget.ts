import { RafterError } from '../errors.js';
import type { Bootstrap, DiskInode } from './bootstrap.js';
import { CHUNK_ENTRY_SIZE } from './chunk-index.js';

/**
 * Counts what the inodes of a bootstrap claim for chunk addresses, xattrs and link targets. Together that is less than the file, unless
 * they lie over each other: then a small file would cost much to read through.
 */
export class BodyBudget {
  readonly #bootstrap: Bootstrap;
  #left: number;

  constructor(bootstrap: Bootstrap) {
    this.#bootstrap = bootstrap;
    this.#left = bootstrap.size;
  }

  /** To be called once for each inode, before its parts are read. Throws MALFORMED from the inode on at which they are too much. */
  take({ nid, type, size, chunkCount, xattrSize }: DiskInode): void {
    this.#left -= chunkCount * CHUNK_ENTRY_SIZE + xattrSize + (type === 'symlink' ? size : 0);
    if (this.#left >= 0) return;
    const { name, size: bytes } = this.#bootstrap;
    throw new RafterError(
      'MALFORMED',
      `${name}: inode ${nid}: inodes claim more than the ${bytes} bytes there are`,
    );
  }
}
