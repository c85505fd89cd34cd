/** One name of a sample, in the order of the inode table: the root first, the children of a directory side by side. */
export interface SampleInode {
  name: string | Buffer;
  /** Index of the directory, 1 is the root; 0 for the root itself. */
  parent: number;
  mode: number;
  size?: number;
  nlink?: number;
  /** For a second name: the index of the first. */
  ino?: number;
  /** Index of the first child, and how many. */
  children?: [number, number];
  target?: Buffer;
  /** The payload behind its size. */
  xattrs?: Buffer;
  chunks?: SampleChunk[];
  flags?: number;
}

interface SampleChunk {
  blob?: number;
  size: number;
  fileOffset?: number;
  decodedOffset: number;
  storedOffset?: number;
  storedSize?: number;
  flags?: number;
  index?: number;
  /** One byte of it, or all of them. */
  digest?: number | Buffer;
}

export interface Sample {
  inodes: SampleInode[];
  /** Ids, and what the extended table says of each; without the table if undefined. */
  blobs?: string[];
  ext?: { chunkCount?: number; features?: number; decodedSize?: number; storedSize?: number }[] | undefined;
  chunkSize?: number;
  flags?: number;
  prefetch?: number[];
  inodesCount?: number;
}

/** Field offsets in the superblock. */
export const SB = {
  version: 4,
  size: 8,
  blockSize: 12,
  flags: 16,
  inodesCount: 24,
  inodeTable: 32,
  prefetchTable: 40,
  blobTable: 48,
  inodeEntries: 56,
  prefetchEntries: 60,
  blobTableSize: 64,
  extEntries: 68,
  extTable: 72,
};

export const ROOT_MODE = 0o040755;
export const FILE_MODE = 0o100644;
export const LINK_MODE = 0o120777;
export const BLOB_ID = 'b'.repeat(64);

const pad8 = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 7)]);

/** The bytes of a RAFS v5 bootstrap, and where each inode begins. zstd, BLAKE3, chunks of 4096 bytes unless told. */
export function buildSample(sample: Sample): { bytes: Buffer; offsets: number[] } {
  const { inodes, blobs = [], ext, chunkSize = 4096, flags = 0x94, prefetch = [] } = sample;
  const blobTable = Buffer.concat(
    blobs.map((id, i) =>
      Buffer.concat([Buffer.alloc(8), Buffer.from(id), Buffer.alloc(i < blobs.length - 1 ? 1 : 0)]),
    ),
  );
  const extTable = Buffer.alloc((ext?.length ?? 0) * 64);
  ext?.forEach(({ chunkCount = 1, features = 0, decodedSize = 1 << 20, storedSize = 1 << 20 }, i) => {
    extTable.writeUInt32LE(chunkCount, i * 64);
    extTable.writeUInt32LE(features, i * 64 + 4);
    extTable.writeBigUInt64LE(BigInt(decodedSize), i * 64 + 8);
    extTable.writeBigUInt64LE(BigInt(storedSize), i * 64 + 16);
  });
  const prefetchTable = Buffer.alloc(prefetch.length * 4);
  prefetch.forEach((nid, i) => void prefetchTable.writeUInt32LE(nid, i * 4));
  const inodeTable = Buffer.alloc(inodes.length * 4);
  const tables = [inodeTable, prefetchTable, blobTable, extTable];
  const starts: number[] = [];
  let at = 8192;
  for (const table of tables) {
    starts.push(at);
    at += pad8(table).length;
  }
  const offsets: number[] = [];
  const records = inodes.map((inode, i) => {
    const record = encodeInode(inode, i + 1);
    inodeTable.writeUInt32LE(at / 8, i * 4);
    offsets.push(at);
    at += record.length;
    return record;
  });
  const sb = Buffer.alloc(8192);
  sb.writeUInt32LE(0x52414653, 0);
  sb.writeUInt32LE(0x500, SB.version);
  sb.writeUInt32LE(8192, SB.size);
  sb.writeUInt32LE(chunkSize, SB.blockSize);
  sb.writeBigUInt64LE(BigInt(flags), SB.flags);
  const distinct = inodes.filter(({ ino }, i) => ino === undefined || ino === i + 1).length;
  sb.writeBigUInt64LE(BigInt(sample.inodesCount ?? distinct), SB.inodesCount);
  [SB.inodeTable, SB.prefetchTable, SB.blobTable, SB.extTable].forEach(
    (field, i) => void sb.writeBigUInt64LE(BigInt(starts[i]!), field),
  );
  sb.writeUInt32LE(inodes.length, SB.inodeEntries);
  sb.writeUInt32LE(prefetch.length, SB.prefetchEntries);
  sb.writeUInt32LE(blobTable.length, SB.blobTableSize);
  sb.writeUInt32LE(ext?.length ?? 0, SB.extEntries);
  return { bytes: Buffer.concat([sb, ...tables.map(pad8), ...records]), offsets };
}

function encodeInode(inode: SampleInode, index: number): Buffer {
  const { parent, mode, nlink = 1, ino = index, children = [0, 0], target, xattrs, chunks = [] } = inode;
  const name = Buffer.from(inode.name);
  const isFile = (mode & 0o170000) === 0o100000;
  const fixed = Buffer.alloc(128);
  const u64 = (value: number, at: number) => void fixed.writeBigUInt64LE(BigInt(value), at);
  u64(parent, 32);
  u64(ino, 40);
  fixed.writeUInt32LE(mode, 60);
  u64(inode.size ?? chunks.reduce((sum, { size }) => sum + size, 0), 64);
  const isLink = ino !== index || nlink > 1;
  u64(inode.flags ?? (target ? 1 : 0) | (isLink ? 2 : 0) | (xattrs ? 4 : 0), 80);
  fixed.writeUInt32LE(nlink, 88);
  fixed.writeUInt32LE(children[0], 92);
  fixed.writeUInt32LE(isFile ? chunks.length : children[1], 96);
  fixed.writeUInt16LE(name.length, 100);
  fixed.writeUInt16LE(target?.length ?? 0, 102);
  const parts: Buffer[] = [fixed, pad8(name)];
  if (target) parts.push(pad8(target));
  if (xattrs) {
    const size = Buffer.alloc(8);
    size.writeUInt32LE(xattrs.length);
    parts.push(size, pad8(xattrs));
  }
  let position = 0;
  for (const chunk of chunks) {
    parts.push(encodeChunk(chunk, position));
    position += chunk.size;
  }
  return Buffer.concat(parts);
}

function encodeChunk(chunk: SampleChunk, position: number): Buffer {
  const bytes = Buffer.alloc(80);
  const { blob = 0, size, decodedOffset, storedOffset = decodedOffset, storedSize = size } = chunk;
  bytes.fill(chunk.digest ?? decodedOffset % 251, 0, 32);
  bytes.writeUInt32LE(blob, 32);
  bytes.writeUInt32LE(chunk.flags ?? 0, 36);
  bytes.writeUInt32LE(storedSize, 40);
  bytes.writeUInt32LE(size, 44);
  bytes.writeBigUInt64LE(BigInt(storedOffset), 48);
  bytes.writeBigUInt64LE(BigInt(decodedOffset), 56);
  bytes.writeBigUInt64LE(BigInt(chunk.fileOffset ?? position), 64);
  bytes.writeUInt32LE(chunk.index ?? 0, 72);
  return bytes;
}

/** One pair of an xattr payload. */
export function xattrPair(name: string, value: Buffer): Buffer {
  const pair = Buffer.concat([Buffer.alloc(4), Buffer.from(`${name}\0`), value]);
  pair.writeUInt32LE(pair.length - 4);
  return pair;
}

/** An empty file in the root, unless told otherwise. */
export const file = (name: string | Buffer, rest: Partial<SampleInode> = {}): SampleInode => ({
  name,
  parent: 1,
  mode: FILE_MODE,
  ...rest,
});

/** A root with the given names in it. */
export function tree(children: SampleInode[], rest: Partial<Sample> = {}): Sample {
  const root: SampleInode = {
    name: '/',
    parent: 0,
    mode: ROOT_MODE,
    nlink: 2,
    size: 4096,
    children: [2, children.filter(({ parent }) => parent === 1).length],
    flags: 0,
  };
  return { inodes: [root, ...children], blobs: [BLOB_ID], ext: [{}], ...rest };
}
