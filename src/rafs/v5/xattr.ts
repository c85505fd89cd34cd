import { malformed } from '../binary.js';
import { MAX_XATTR_NAME_SIZE, MAX_XATTR_VALUE_SIZE } from '../limits.js';
import type { Xattr } from '../tree.js';
import { xattrPrefix } from '../xattr.js';

/** Bytes of the size in front of each pair. */
const PAIR_HEAD_SIZE = 4;

/**
 * Reads the pairs in the `size` bytes at `offset`, which must be inside `bytes`: full name, NUL, value (RAFS v5 format). Names
 * and values are copies. Throws MALFORMED for pairs that leave the range and names that no file system could have.
 */
export function decodeXattrsV5(bytes: Buffer, offset: number, size: number, source: string): Xattr[] {
  const end = offset + size;
  const xattrs: Xattr[] = [];
  for (let at = offset; at < end; ) {
    const start = at + PAIR_HEAD_SIZE;
    const stop = start <= end ? start + bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (stop > end) throw malformed(source, 'xattr pair', at, 'ends outside its inode');
    const pair = bytes.subarray(start, stop);
    const nul = pair.indexOf(0);
    const name = Buffer.copyBytesFrom(pair, 0, Math.max(nul, 0));
    if (nul < 1 || nul > MAX_XATTR_NAME_SIZE || xattrPrefix(name) === undefined)
      throw malformed(source, 'xattr name', start, 'is none of a known namespace');
    const value = Buffer.copyBytesFrom(pair, nul + 1);
    if (value.length > MAX_XATTR_VALUE_SIZE)
      throw malformed(source, 'xattr value', start, `${value.length} bytes`);
    xattrs.push({ name, value });
    at = stop;
  }
  return xattrs;
}
