import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Compressor, decompress } from '../../src/codec/compressor.js';
import { chunkDigest, crc32c } from '../../src/codec/digest.js';
import { BlobRef } from '../../src/rafs/blob-ref.js';
import type { Bootstrap, ChunkMap, RafsBlob } from '../../src/rafs/bootstrap.js';
import { readBootstrapTables } from '../../src/rafs/bootstrap-tables.js';
import { CHUNK_TABLE_ENTRY_SIZE, decodeChunkTableEntry } from '../../src/rafs/chunk-table.js';
import type { Chunk, Inode, TreeNode } from '../../src/rafs/tree.js';
import { walk } from '../../src/rafs/walk.js';

const ROOT = join(import.meta.dirname, '../../fixtures/golden');

/** Bytes of `fixtures/golden/<path>`. */
export function golden(path: string): Buffer {
  return readFileSync(join(ROOT, path));
}

/** All RAFS v6 bootstraps of the golden set with 4096-byte blocks: everything but the tarfs one. */
export const BOOTSTRAPS: string[] = ['v6', 'ref'].flatMap((dir) =>
  readdirSync(join(ROOT, dir))
    .filter((file) => file.endsWith('.boot') && file !== 'tiny-tarfs.boot')
    .map((file) => `${dir}/${file}`),
);

/** One path of a `tree/*.json` file; see fixtures/golden/README.md. */
export interface TreeRow {
  path?: string;
  path64?: string;
  type: Inode['type'];
  mode: string;
  uid: number;
  gid: number;
  nlink: number;
  mtime: number;
  mtimeNsec: number;
  size?: number;
  dirSize?: number;
  rdev?: [number, number];
  target?: string;
  target64?: string;
  sha256?: string;
  hardlinkGroup?: number;
  xattrs?: Record<string, string>;
}

export function goldenTree(name: string): TreeRow[] {
  return JSON.parse(golden(`tree/${name}.json`).toString());
}

/** Every chunk table entry of a bootstrap, decoded. */
function chunkTableOf(bytes: Buffer) {
  const { offset, size } = readBootstrapTables(bytes, 'golden').extended.chunkTable;
  return Array.from({ length: size / CHUNK_TABLE_ENTRY_SIZE }, (_, i) =>
    decodeChunkTableEntry(bytes, offset + i * CHUNK_TABLE_ENTRY_SIZE),
  );
}

/** A bootstrap read back into what a builder takes: tree and blobs, hard links joined. */
export function readTree(bootstrap: Bootstrap, bytes: Buffer): { root: TreeNode; blobs: BlobRef[] } {
  const blobs = bootstrap.blobs.map(({ index: _, ...fields }) => BlobRef.existing(fields));
  const chunks = new Map<string, Chunk>();
  for (const { blobIndex, fileOffset: _, ...entry } of chunkTableOf(bytes)) {
    chunks.set(`${blobIndex}/${entry.index}`, { ...entry, blob: blobs[blobIndex]! });
  }
  const inodes = new Map<number, Inode>();
  const nodes = new Map<string, TreeNode>();
  for (const { path, inode: disk } of walk(bootstrap)) {
    const slash = path.lastIndexOf('/');
    const common = {
      mode: disk.mode,
      uid: disk.uid,
      gid: disk.gid,
      mtimeSec: disk.mtimeSec,
      mtimeNsec: disk.mtimeNsec,
      xattrs: bootstrap.xattrs(disk),
    };
    const { type } = disk;
    let inode = inodes.get(disk.nid);
    if (!inode) {
      if (type === 'file') {
        const list = Array.from({ length: disk.chunkCount }, (_, k) => {
          const { blobIndex, chunkIndex } = bootstrap.chunkAt(disk, k);
          return chunks.get(`${blobIndex}/${chunkIndex}`)!;
        });
        inode = { ...common, type, size: disk.size, chunks: list };
      } else if (type === 'symlink') inode = { ...common, type, target: bootstrap.readlink(disk) };
      else if (type === 'char' || type === 'block') inode = { ...common, type, rdev: disk.rdev! };
      else if (type === 'dir') inode = { ...common, type };
      else inode = { ...common, type };
      inodes.set(disk.nid, inode);
    }
    const node: TreeNode = { inode };
    if (type === 'dir') node.children = new Map();
    const key = path.toString('latin1');
    nodes.set(key, node);
    if (key === '/') continue;
    const parent = nodes.get(slash === 0 ? '/' : key.slice(0, slash))!;
    parent.children!.set(key.slice(slash + 1), node);
  }
  return { root: nodes.get('/')!, blobs };
}

/** Raw bytes of chunk `index`, decoded from the whole blob file and checked against its CRC and digest. */
export function readChunk(
  blobFile: Buffer,
  blob: RafsBlob,
  meta: ChunkMap,
  index: number,
  digest: Buffer,
): Buffer {
  const chunk = meta.chunk(index);
  const unit = chunk.batch ?? { offset: 0, storedSize: chunk.storedSize, decodedSize: chunk.size };
  const stored = blobFile.subarray(chunk.storedOffset, chunk.storedOffset + unit.storedSize);
  const compressor: Compressor = chunk.compressed ? blob.compressor : 'none';
  const raw = decompress(compressor, stored, unit.decodedSize).subarray(
    unit.offset,
    unit.offset + chunk.size,
  );
  if (!chunkDigest(blob.digester, raw).equals(digest))
    throw new Error(`chunk ${index} does not match its digest`);
  if (chunk.crc !== undefined && crc32c(raw) !== chunk.crc)
    throw new Error(`chunk ${index} does not match its CRC`);
  return raw;
}
