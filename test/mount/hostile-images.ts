import { sha256 } from '../../src/codec/digest.js';
import { BlobBuilder } from '../../src/rafs/blob-builder.js';
import { type Bootstrap, type DiskInode, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import type { Inode, TreeNode } from '../../src/rafs/tree.js';

const COMMON = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
export const CHUNK = 4096;
/** EROFS on-disk format: `meta_blkaddr` of the superblock, `i_size` and `i_u` of an inode. */
const AT_META = 1024 + 40;
const AT_SIZE = 8;
const AT_UNION = 16;
/** Bytes of a directory entry before the names; it begins with the nid. */
const ENTRY_SIZE = 12;
/** Bytes of a chunk index entry, and the block in it. */
const INDEX_SIZE = 8;
const AT_BLOCK = 4;

/** A bootstrap and its blob. */
export interface SampleImage {
  bootstrap: Buffer;
  /** Of six chunks, each full of one byte: 1 to 6. */
  blob: Buffer;
}

/** A directory of mode 0755. */
function directory(children: Iterable<[string, TreeNode]>): TreeNode {
  return { inode: { ...COMMON, type: 'dir', mode: 0o040755 }, children: new Map(children) };
}

function symlink(target: string): TreeNode {
  return { inode: { ...COMMON, type: 'symlink', mode: 0o120777, target: Buffer.from(target) } as Inode };
}

/**
 * `/a` and `/d/b`, each of three chunks of one blob, the second file's behind the first one's, and `/l`, which leads to `a`. `more` are
 * other names in the root.
 */
export function sample(more: Iterable<[string, TreeNode]> = []): SampleImage {
  const builder = new BlobBuilder({ chunkSize: CHUNK, compressor: 'none', digester: 'sha256' });
  const placed = Array.from({ length: 6 }, (_, i) => {
    const stored = Buffer.alloc(CHUNK, i + 1);
    return builder.addChunk({ digest: sha256(stored), crc: 0, size: CHUNK, stored, compressed: false });
  });
  const { bytes: end } = builder.finish();
  const file = (from: number): TreeNode => ({
    inode: {
      ...COMMON,
      type: 'file',
      mode: 0o100644,
      size: 3 * CHUNK,
      chunks: placed.slice(from, from + 3).map(({ chunk }) => chunk),
    } as Inode,
  });
  const root = directory([['a', file(0)], ['d', directory([['b', file(3)]])], ['l', symlink('a')], ...more]);
  return {
    bootstrap: buildBootstrap({
      root,
      blobs: [builder.ref],
      chunkSize: CHUNK,
      compressor: 'none',
      digester: 'sha256',
    }),
    blob: Buffer.concat([...placed.map(({ bytes }) => bytes), end]),
  };
}

/** The inode at a path of a bootstrap. */
export function find(bootstrap: Bootstrap, ...path: string[]): DiskInode {
  let inode = bootstrap.inode(bootstrap.rootNid);
  for (const name of path) inode = bootstrap.inode(bootstrap.lookup(inode, Buffer.from(name))!);
  return inode;
}

/** What a change is made to: the bytes of a sample, what they said before, and the offset of an inode in them. */
interface Changing {
  bytes: Buffer;
  bootstrap: Bootstrap;
  at: (inode: DiskInode) => number;
}

/** The image with a change of its bootstrap. */
function changed(image: SampleImage, change: (what: Changing) => void): SampleImage {
  const bytes = Buffer.from(image.bootstrap);
  const bootstrap = parseBootstrap(image.bootstrap, 'sample');
  const meta = bytes.readUInt32LE(AT_META) * 4096;
  change({ bytes, bootstrap, at: ({ nid }) => meta + nid * 32 });
  return { ...image, bootstrap: bytes };
}

/** The sample with chunk `k` of `/a` at `block` of the blob's decoded bytes. `isOneRun`: the inode goes on to say that `a` is one run. */
export function withChunkAt(k: number, block: number, { isOneRun = true } = {}): SampleImage {
  return changed(sample(), ({ bytes, bootstrap, at }) => {
    const a = find(bootstrap, 'a');
    bytes.writeUInt32LE(block, a.dataOffset + k * INDEX_SIZE + AT_BLOCK);
    // Chunks of the image's size: no claim about one run.
    const union = at(a) + AT_UNION;
    if (!isOneRun) bytes.writeUInt32LE(bytes.readUInt32LE(union) & ~0x1f, union);
  });
}

/** The sample with another size of `/a`, bytes. */
export function withSize(size: number): SampleImage {
  return changed(sample(), ({ bytes, bootstrap, at }) => {
    bytes.writeUInt32LE(size, at(find(bootstrap, 'a')) + AT_SIZE);
  });
}

/** A sample in which the entry of the directory at `from` in the root means the directory at `to`. */
export function withSecondName(from: string[], to: string[]): SampleImage {
  const image = sample([['e', directory([['f', directory([])]])]]);
  return changed(image, ({ bytes, bootstrap }) => {
    const parent = find(bootstrap, ...from.slice(0, -1));
    const { nid } = find(bootstrap, ...from);
    const start = parent.tailOffset < 0 ? parent.dataOffset : parent.tailOffset;
    const entry = [...Array(8).keys()]
      .map((i) => start + i * ENTRY_SIZE)
      .find((place) => bytes.readBigUInt64LE(place) === BigInt(nid))!;
    bytes.writeBigUInt64LE(BigInt(find(bootstrap, ...to).nid), entry);
  });
}

/** The sample with links that lead to themselves, to each other, nowhere, and out of the tree. */
export function withLoops(): SampleImage {
  const targets = { self: 'self', ping: 'pong', pong: 'ping', nowhere: 'd/none', up: '../../../../l/x' };
  return sample(Object.entries(targets).map(([name, target]) => [name, symlink(target)]));
}

/** The sample and a directory `many` of `count` fifos, `name-0` and so on. */
export function withManyNames(count: number): SampleImage {
  const fifo: TreeNode = { inode: { ...COMMON, type: 'fifo', mode: 0o010600 } as Inode };
  const names = Array.from({ length: count }, (_, i): [string, TreeNode] => [`name-${i}`, fifo]);
  return sample([['many', directory(names)]]);
}

/**
 * A sample in which `count` directories have the entries of one with that many names: its blocks are theirs, too, so that walking them meets
 * `count` times `count` names in a bootstrap that holds twice as many.
 */
export function withSharedDirectories(count: number): SampleImage {
  const fifo: TreeNode = { inode: { ...COMMON, type: 'fifo', mode: 0o010600 } as Inode };
  // Whole blocks, of which nothing stands behind the inode: 16 entries of 256 bytes each.
  const names = Array.from({ length: count }, (_, i): [string, TreeNode] => [
    `${i}`.padStart(244, '0'),
    fifo,
  ]);
  const image = sample([
    ['many', directory(names)],
    ...names.map(([name]): [string, TreeNode] => [`d${name.slice(200)}`, directory([])]),
  ]);
  return changed(image, ({ bytes, bootstrap, at }) => {
    const many = find(bootstrap, 'many');
    const size = Math.floor(many.size / 4096) * 4096;
    for (const [name] of names) {
      const place = at(find(bootstrap, `d${name.slice(200)}`));
      bytes.writeUInt16LE(1, place);
      bytes.writeUInt32LE(size, place + AT_SIZE);
      bytes.writeUInt32LE(many.dataOffset / 4096, place + AT_UNION);
    }
  });
}

/** A sample with `count` more files, each of as many chunks as the bootstrap has room for: their chunk indexes lie over each other. */
export function withSharedChunkIndexes(count: number): SampleImage {
  const empty: TreeNode['inode'] = { ...COMMON, type: 'file', mode: 0o100644, size: 0, chunks: [] };
  const image = sample(
    Array.from({ length: count }, (_, i): [string, TreeNode] => [`f${i}`, { inode: { ...empty } as Inode }]),
  );
  return changed(image, ({ bytes, bootstrap, at }) => {
    for (let i = 0; i < count; i++) {
      const place = at(find(bootstrap, `f${i}`));
      const chunks = Math.floor((bytes.length - place - 64) / INDEX_SIZE);
      bytes.writeUInt32LE(chunks * CHUNK, place + AT_SIZE);
    }
  });
}

/** What `withManyNames` made, with an entry 128 blocks into that directory whose nid is behind the end of the bootstrap. */
export function withDamageAmongMany(many: SampleImage): SampleImage {
  return changed(many, ({ bytes, bootstrap }) => {
    const { dataOffset } = find(bootstrap, 'many');
    bytes.writeBigUInt64LE(0xffff_fff0n, dataOffset + 128 * 4096 + 5 * ENTRY_SIZE);
  });
}
