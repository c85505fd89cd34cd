import { malformed, readU64, writeU64 } from './binary.js';
import { typeOfDirent } from './inode-type.js';
import { MAX_NAME_SIZE } from './limits.js';
import type { InodeType } from './tree.js';

/** Bytes of a directory entry without its name (EROFS on-disk format). */
export const DIRENT_SIZE = 12;

const NID = 0;
const NAME_OFFSET = 8;
const TYPE = 10;

const SLASH = 0x2f;

/** An entry to be written. */
export interface Dirent {
  /** Bytes as latin1 text. */
  name: string;
  nid: number;
  /** Number of the type, see `direntTypeOf`. */
  type: number;
}

/** Writes one directory block: the entries at `offset` of `target`, their names packed behind them. */
export function encodeDirentBlock(entries: readonly Dirent[], target: Buffer, offset: number): void {
  let nameOffset = entries.length * DIRENT_SIZE;
  entries.forEach((entry, i) => {
    const at = offset + i * DIRENT_SIZE;
    writeU64(target, entry.nid, at + NID);
    target.writeUInt16LE(nameOffset, at + NAME_OFFSET);
    target.writeUInt8(entry.type, at + TYPE);
    target.write(entry.name, offset + nameOffset, 'latin1');
    nameOffset += entry.name.length;
  });
}

/**
 * A directory block in place: [start, end) of a bootstrap's bytes. Entries are decoded on demand; every access checks
 * what it reads and throws MALFORMED naming the offset.
 */
export interface DirentBlock {
  bytes: Buffer;
  start: number;
  end: number;
  count: number;
  /** Name of the bootstrap, for messages. */
  source: string;
}

/** Opens the block at [start, end), which must be inside `bytes`. MALFORMED if it has no entries or they do not fit. */
export function openDirentBlock(bytes: Buffer, start: number, end: number, source: string): DirentBlock {
  if (end - start < DIRENT_SIZE) {
    throw malformed(source, 'directory block', start, `${end - start} bytes cannot hold an entry`);
  }
  const first = bytes.readUInt16LE(start + NAME_OFFSET);
  if (first === 0 || first % DIRENT_SIZE !== 0 || first >= end - start) {
    throw malformed(
      source,
      'nameoff of the first entry',
      start + NAME_OFFSET,
      `${first} in a block of ${end - start}`,
    );
  }
  return { bytes, start, end, count: first / DIRENT_SIZE, source };
}

/** nid of entry `i`. */
export function direntNid(block: DirentBlock, i: number): number {
  return readU64(block.bytes, block.start + i * DIRENT_SIZE + NID);
}

/** Type of entry `i`. */
export function direntType(block: DirentBlock, i: number): InodeType {
  const at = block.start + i * DIRENT_SIZE + TYPE;
  const number = block.bytes.readUInt8(at);
  const type = typeOfDirent(number);
  if (type === undefined) throw malformed(block.source, 'directory entry type', at, `${number}`);
  return type;
}

/**
 * The name of entry `i`, as a view of the bootstrap. It is 1 to 255 bytes without "/" and NUL. The last name of a block
 * ends at the first NUL or with the block.
 */
export function direntName(block: DirentBlock, i: number): Buffer {
  const at = block.start + i * DIRENT_SIZE + NAME_OFFSET;
  const size = block.end - block.start;
  const from = block.bytes.readUInt16LE(at);
  const last = i === block.count - 1;
  let to = last ? size : block.bytes.readUInt16LE(at + DIRENT_SIZE);
  if (from < block.count * DIRENT_SIZE || to > size || from >= to) {
    throw malformed(
      block.source,
      'nameoff of a directory entry',
      at,
      `name at ${from} to ${to} in a block of ${size}`,
    );
  }
  let name = block.bytes.subarray(block.start + from, block.start + to);
  const nul = name.indexOf(0);
  if (nul >= 0 && last) {
    to = from + nul;
    name = name.subarray(0, nul);
  }
  if (name.length === 0 || name.length > MAX_NAME_SIZE) {
    throw malformed(block.source, 'name of a directory entry', block.start + from, `${name.length} bytes`);
  }
  if ((nul >= 0 && !last) || name.includes(SLASH)) {
    throw malformed(block.source, 'name of a directory entry', block.start + from, 'holds "/" or NUL');
  }
  return name;
}
