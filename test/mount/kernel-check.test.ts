import { describe, expect, it, vi } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { RafterError } from '../../src/errors.js';
import { checkForKernel } from '../../src/mount/kernel-check.js';
import { BlobBuilder } from '../../src/rafs/blob-builder.js';
import { type Bootstrap, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import type { Inode, TreeNode } from '../../src/rafs/tree.js';
import { BOOTSTRAPS, golden } from '../rafs/golden.js';
import { fuzzRounds, fuzzSeeds } from '../support/fuzz.js';
import { overwrite, placesOf, random } from '../support/mutate.js';

// Much computing: seconds on an idle machine, more on a busy one.
vi.setConfig({ testTimeout: fuzzRounds(60_000) });

const COMMON = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
const CHUNK = 4096;
/** EROFS on-disk format: `meta_blkaddr` of the superblock, `i_size` and `i_u` of an inode. */
const AT_META = 1024 + 40;
const AT_SIZE = 8;
const AT_UNION = 16;
/** Of a chunk index entry: the block. */
const AT_BLOCK = 4;

function directory(children: Iterable<[string, TreeNode]>): TreeNode {
  return { inode: { ...COMMON, type: 'dir', mode: 0o040755 }, children: new Map(children) };
}

/** `/a` and `/d/b`, each of three chunks of one blob, the second file's behind the first one's, and `/l`. */
function sample(): Buffer {
  const builder = new BlobBuilder({ chunkSize: CHUNK, compressor: 'none', digester: 'sha256' });
  const chunks = Array.from({ length: 6 }, (_, i) => {
    const stored = Buffer.alloc(CHUNK, i + 1);
    const digest = sha256(stored);
    return builder.addChunk({ digest, crc: i, size: CHUNK, stored, compressed: false }).chunk;
  });
  builder.finish();
  const file = (from: number): TreeNode => ({
    inode: {
      ...COMMON,
      type: 'file',
      mode: 0o100644,
      size: 3 * CHUNK,
      chunks: chunks.slice(from, from + 3),
    } as Inode,
  });
  const link: TreeNode = {
    inode: { ...COMMON, type: 'symlink', mode: 0o120777, target: Buffer.from('a') } as Inode,
  };
  const root = directory([
    ['a', file(0)],
    ['d', directory([['b', file(3)]])],
    ['l', link],
  ]);
  return buildBootstrap({
    root,
    blobs: [builder.ref],
    chunkSize: CHUNK,
    compressor: 'none',
    digester: 'sha256',
  });
}

/** Where things are in a bootstrap, for damaging them. */
function find(bootstrap: Bootstrap, ...path: string[]) {
  let inode = bootstrap.inode(bootstrap.rootNid);
  for (const name of path) inode = bootstrap.inode(bootstrap.lookup(inode, Buffer.from(name))!);
  return inode;
}

/** The sample with a change; `at`: offset of an inode. */
function changed(change: (bytes: Buffer, bootstrap: Bootstrap, at: (nid: number) => number) => void): Buffer {
  const bytes = sample();
  const bootstrap = parseBootstrap(bytes, 'sample');
  const meta = bytes.readUInt32LE(AT_META) * 4096;
  change(bytes, bootstrap, (nid) => meta + nid * 32);
  return bytes;
}

const check = (bytes: Buffer) => checkForKernel(parseBootstrap(bytes, 'sample'));

describe('what the kernel is given', () => {
  it.each(BOOTSTRAPS)('may be %s, which the field tools wrote', (path) => {
    expect(() => checkForKernel(parseBootstrap(golden(path), path))).not.toThrow();
  });

  it('may be the sample of this test', () => {
    expect(() => check(sample())).not.toThrow();
  });

  it('is no chunk behind the end of its blob', () => {
    const bytes = changed((copy, bootstrap) => {
      copy.writeUInt32LE(6, find(bootstrap, 'a').dataOffset + AT_BLOCK);
    });
    expect(() => check(bytes)).toThrow(/offset 24576 in a blob of 24576/);
  });

  it('is no file that is said to be one run and is not', () => {
    const bytes = changed((copy, bootstrap) => {
      copy.writeUInt32LE(3, find(bootstrap, 'a').dataOffset + 8 + AT_BLOCK);
    });
    expect(() => check(bytes)).toThrow(/\/a: chunk 1 does not follow the one before/);
  });

  it('may be a file of chunks in any order, overlapping ones too: each is verified', () => {
    const bytes = changed((copy, bootstrap, at) => {
      const a = find(bootstrap, 'a');
      // Chunks of the image's size: no claim about one run.
      copy.writeUInt32LE(copy.readUInt32LE(at(a.nid) + AT_UNION) & ~0x1f, at(a.nid) + AT_UNION);
      copy.writeUInt32LE(0, a.dataOffset + 8 + AT_BLOCK);
    });
    expect(find(parseBootstrap(bytes), 'a').oneRun).toBe(false);
    expect(() => check(bytes)).not.toThrow();
  });

  it('is no size that its chunk index does not hold', () => {
    const bytes = changed((copy, bootstrap, at) => {
      copy.writeUInt32LE(0x7fffffff, at(find(bootstrap, 'a').nid) + AT_SIZE);
    });
    expect(() => check(bytes)).toThrow(/inode \d+ (chunk format|i_size)/);
  });

  it('is no directory that contains itself', () => {
    const bytes = changed((copy, bootstrap) => {
      const root = bootstrap.inode(bootstrap.rootNid);
      const d = find(bootstrap, 'd');
      // A directory entry begins with its nid: that of `d` in the root becomes the root's.
      const start = root.tailOffset < 0 ? root.dataOffset : root.tailOffset;
      const entry = [...Array(8).keys()]
        .map((i) => start + i * 12)
        .find((place) => copy.readBigUInt64LE(place) === BigInt(d.nid))!;
      copy.writeBigUInt64LE(BigInt(bootstrap.rootNid), entry);
    });
    expect(() => check(bytes)).toThrow(/has two names/);
  });

  it('is not RAFS v5', () => {
    expect(() => checkForKernel({ ...parseBootstrap(sample()), version: 5 } as Bootstrap)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
  });

  it('may have 100,000 names in one directory', () => {
    const fifo: TreeNode = { inode: { ...COMMON, type: 'fifo', mode: 0o010600 } as Inode };
    const names = Array.from({ length: 100_000 }, (_, i): [string, TreeNode] => [`name-${i}`, fifo]);
    const options = { chunkSize: CHUNK, compressor: 'none', digester: 'sha256', blobs: [] } as const;
    const bytes = buildBootstrap({ ...options, root: directory(names) });
    const bootstrap = parseBootstrap(bytes, 'many');
    expect([...bootstrap.readdir(bootstrap.inode(bootstrap.rootNid))]).toHaveLength(100_002);
    expect(() => checkForKernel(bootstrap)).not.toThrow();
  });
});

it('a damaged bootstrap is passed or refused with an error of ours', () => {
  const bytes = sample();
  const places = placesOf(bytes);
  let refused = 0;
  for (const seed of fuzzSeeds(1000)) {
    try {
      check(overwrite(bytes, places, random(seed)));
    } catch (error) {
      if (!(error instanceof RafterError))
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(fuzzRounds(1000) / 20);
});
