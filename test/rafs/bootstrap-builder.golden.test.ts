import { describe, expect, test } from 'vitest';
import { type Bootstrap, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import { EXTENDED_OFFSET } from '../../src/rafs/extended-superblock.js';
import { decodeFlags, RafsFlag } from '../../src/rafs/flags.js';
import { walk } from '../../src/rafs/walk.js';
import { encodeXattrs } from '../../src/rafs/xattr.js';
import { BOOTSTRAPS, golden, readTree } from './golden.js';

/** Paths of the prefetch rules that stand behind the table of a golden bootstrap. */
function prefetchOf(bootstrap: Bootstrap): Buffer[] {
  const paths = new Map([...walk(bootstrap)].map(({ path, inode }) => [inode.nid, path]));
  return bootstrap.prefetchNids.map((nid) => paths.get(nid)!);
}

/**
 * What the Nydus builder writes by chance or by habit where ours has a rule:
 * - several xattrs of one inode are in the order of a hash map; ours are sorted. Entries are padded one by one, so the
 *   same entries in another order take the same room.
 * - `merge` sets HAS_XATTR whether there are xattrs or not.
 */
function normalise(bytes: Buffer, bootstrap: Bootstrap): Buffer {
  const copy = Buffer.from(bytes);
  let hasXattr = false;
  for (const { inode } of walk(bootstrap)) {
    if (!inode.hasXattrs) continue;
    hasXattr = true;
    const sorted = bootstrap.xattrs(inode).sort((a, b) => Buffer.compare(a.name, b.name));
    copy.fill(0, inode.xattrOffset, inode.xattrOffset + inode.xattrSize);
    encodeXattrs(sorted, copy, inode.xattrOffset);
  }
  const flags = bootstrap.flags & ~RafsFlag.HAS_XATTR;
  copy.writeUInt32LE((flags | (hasXattr ? RafsFlag.HAS_XATTR : 0)) >>> 0, EXTENDED_OFFSET);
  return copy;
}

describe('a golden bootstrap, read and built again, is the same byte for byte', () => {
  test.each(BOOTSTRAPS)('%s', (file) => {
    const bytes = golden(file);
    const bootstrap = parseBootstrap(bytes, file);
    const flags = decodeFlags(bootstrap.flags);
    if (typeof flags === 'string') throw new Error(flags);
    const { root, blobs } = readTree(bootstrap, bytes);
    const built = buildBootstrap({
      root,
      blobs,
      chunkSize: bootstrap.chunkSize,
      compressor: flags.compressor,
      digester: flags.digester,
      prefetch: prefetchOf(bootstrap),
    });
    const expected = normalise(bytes, bootstrap);
    const first = built.findIndex((byte, i) => byte !== expected[i]);
    expect({ firstDifference: first, size: built.length }).toEqual({
      firstDifference: -1,
      size: expected.length,
    });
  });

  test('covers every golden v6 bootstrap with 4096-byte blocks', () => {
    expect(BOOTSTRAPS).toHaveLength(15);
  });
});
