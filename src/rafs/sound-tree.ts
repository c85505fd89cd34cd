import { wordsOf } from './binary.js';
import { CHUNK_ARRAY_ALIGNMENT, CHUNK_ENTRY_SIZE, decodeChunkFormat, HOLE_BLOCK } from './chunk-index.js';
import { DIRENT_SIZE } from './dirent.js';
import type { InodeArea } from './disk-inode.js';
import { COMPACT_INODE_SIZE, DataLayout, EXTENDED_INODE_SIZE, INODE_SLOT } from './inode.js';
import { alignUp, MAX_NAME_SIZE, MAX_SYMLINK_SIZE } from './limits.js';
import { decodeXattrs, xattrAreaSizeOf } from './xattr.js';

/** Bytes of a path above which a tree gets no quick look: `walk` has the limit. */
const LONG_PATH = 4096;
/** Numbers of types in directory entries (EROFS on-disk format), by the upper four bits of st_mode; 0: none. */
const TYPE_OF_FORMAT = Uint8Array.of(0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6, 0, 0, 0);
const FILE = 1;
const DIRECTORY = 2;
const SYMLINK = 7;
const DOT = 0x2e;
const SLASH = 0x2f;
const MAX_NSEC = 999_999_999;
/** Above this the upper half of a 64-bit number makes one that is beyond 2^53. */
const MAX_UPPER = 0x1fffff;

/** What of a bootstrap is looked at. */
export interface SoundTreeInput {
  area: InodeArea;
  rootNid: number;
  blobs: readonly { chunkCount: number; uncompressedSize: number }[];
}

/**
 * True if a quick look at every directory, inode, link, xattr and chunk address that the kernel's EROFS would read found nothing that
 * `readInode`, `readDirectory`, `decodeXattrs` and `BootstrapV6.chunkAt` refuse, no directory with two names, no chunk beyond its blob or
 * out of a run, and no claims on more bytes than there are. False says only that a careful look is due, which tells what is wrong.
 *
 * A container that starts waits for this, in code that V8 has not optimized yet: aligned words and plain numbers instead of an object per
 * name and inode take a fraction of the time.
 */
export function isSoundTree(input: SoundTreeInput): boolean {
  return lookAtTree(input)(Number.POSITIVE_INFINITY) === true;
}

/** As `isSoundTree`, in parts: each call looks at a directory, and at more until that time (of `performance.now`); undefined: there are more. */
export function lookAtTree(input: SoundTreeInput): (until: number) => boolean | undefined {
  const { bytes, metaOffset } = input.area;
  const words = wordsOf(bytes);
  if (words === undefined || metaOffset % 4 !== 0) return () => false;
  const tree = new SoundTree(input, words);
  return (until) => tree.look(until);
}

class SoundTree {
  readonly #area: InodeArea;
  readonly #rootNid: number;
  readonly #blobs: SoundTreeInput['blobs'];
  readonly #words: Uint32Array;
  /** Type of each inode that was looked at, by nid; 0: not yet. */
  readonly #seen: Uint8Array;
  /** Directories to be read: nid and bytes of the path, in turns. */
  readonly #pending: number[] = [];
  // What may still be claimed, see `BodyBudget` and `mostNames`.
  #bytesLeft: number;
  #namesLeft: number;
  // The inode of the last `look`; as in `DiskInode`.
  #type = 0;
  #size = 0;
  #xattrOffset = 0;
  #xattrSize = 0;
  #dataOffset = 0;
  #tailOffset = -1;
  #chunkCount = 0;
  #oneRun = false;

  constructor({ area, rootNid, blobs }: SoundTreeInput, words: Uint32Array) {
    const { bytes } = area;
    this.#area = area;
    this.#rootNid = rootNid;
    this.#blobs = blobs;
    this.#words = words;
    this.#seen = new Uint8Array(Math.ceil(bytes.length / INODE_SLOT));
    this.#bytesLeft = bytes.length;
    this.#namesLeft = Math.floor(bytes.length / DIRENT_SIZE);
  }

  look(until: number): boolean | undefined {
    if (this.#seen[this.#rootNid] !== DIRECTORY) {
      if (!this.#look(this.#rootNid) || this.#type !== DIRECTORY || !this.#takeBody()) return false;
      this.#seen[this.#rootNid] = DIRECTORY;
      this.#pending.push(this.#rootNid, 0);
    }
    while (this.#pending.length > 0) {
      const pathSize = this.#pending.pop()!;
      this.#look(this.#pending.pop()!);
      if (!this.#readNames(pathSize)) return false;
      if (this.#pending.length > 0 && performance.now() >= until) return undefined;
    }
    return true;
  }

  /** The directory of the last `look`, and every inode in it that is new. */
  #readNames(pathSize: number): boolean {
    const { bytes, blockSize } = this.#area;
    const words = this.#words;
    const all = this.#size;
    const blocks = this.#dataOffset;
    const tail = this.#tailOffset;
    let previous = 0;
    let previousEnd = 0;
    for (let from = 0; from < all; from += blockSize) {
      const blockBytes = Math.min(blockSize, all - from);
      const start = blockBytes < blockSize && tail >= 0 ? tail : blocks + from;
      if (blockBytes < DIRENT_SIZE || start % 4 !== 0) return false;
      const names = words[(start >> 2) + 2]! & 0xffff;
      if (names === 0 || names % DIRENT_SIZE !== 0 || names >= blockBytes) return false;
      const last = names - DIRENT_SIZE;
      // Names have no NUL and no slash in them; behind the last one there may be anything.
      const text = bytes.subarray(start + names, start + blockBytes);
      const nul = text.indexOf(0);
      const textEnd = nul < 0 ? blockBytes : names + nul;
      const slash = text.indexOf(SLASH);
      if (slash >= 0 && names + slash < textEnd) return false;
      for (let entry = 0; entry <= last; entry += DIRENT_SIZE) {
        const word = (start + entry) >> 2;
        const nameAndType = words[word + 2]!;
        const nameFrom = nameAndType & 0xffff;
        const nameTo = entry === last ? textEnd : words[word + 5]! & 0xffff;
        if (nameFrom < names || nameTo > textEnd || nameFrom >= nameTo) return false;
        if (nameTo - nameFrom > MAX_NAME_SIZE) return false;
        const name = start + nameFrom;
        const end = start + nameTo;
        // Ascending by their bytes.
        let at = name;
        let before = previous;
        while (before < previousEnd && at < end && bytes[at] === bytes[before]) {
          at++;
          before++;
        }
        if (at === end || (before < previousEnd && bytes[at]! < bytes[before]!)) return false;
        previous = name;
        previousEnd = end;
        const entryType = (nameAndType >>> 16) & 0xff;
        if (entryType === 0 || entryType > SYMLINK || words[word + 1] !== 0) return false;
        if (isDots(bytes, name, end)) continue;
        const childPath = pathSize + 1 + end - name;
        if (this.#namesLeft-- === 0 || childPath > LONG_PATH) return false;
        const nid = words[word]!;
        const known = this.#seen[nid];
        if (known === entryType && entryType !== DIRECTORY) continue;
        // A directory with two names would be a loop, or might be.
        if (known !== 0 || !this.#look(nid) || this.#type !== entryType || !this.#takeBody()) return false;
        this.#seen[nid] = entryType;
        if (entryType === DIRECTORY) this.#pending.push(nid, childPath);
      }
    }
    return true;
  }

  /** What `readInode` looks at. */
  #look(nid: number): boolean {
    const { bytes, metaOffset } = this.#area;
    const offset = metaOffset + nid * INODE_SLOT;
    if (!(nid >= 0 && offset + COMPACT_INODE_SIZE <= bytes.length)) return false;
    const words = this.#words;
    const word = offset / 4;
    const format = words[word]! & 0xffff;
    const isExtended = (format & 1) !== 0;
    const inodeSize = isExtended ? EXTENDED_INODE_SIZE : COMPACT_INODE_SIZE;
    if (offset + inodeSize > bytes.length) return false;
    this.#type = TYPE_OF_FORMAT[(words[word + 1]! & 0xffff) >>> 12]!;
    this.#size = words[word + 2]!;
    if (isExtended) {
      const upper = words[word + 3]!;
      const seconds = words[word + 9]! | 0;
      if (upper > MAX_UPPER || seconds > MAX_UPPER || seconds < -MAX_UPPER) return false;
      if (words[word + 10]! > MAX_NSEC) return false;
      this.#size += upper * 2 ** 32;
    }
    this.#xattrOffset = offset + inodeSize;
    this.#xattrSize = xattrAreaSizeOf(words[word]! >>> 16);
    const body = this.#xattrOffset + this.#xattrSize;
    if (body > bytes.length) return false;
    this.#chunkCount = 0;
    this.#tailOffset = -1;
    const union = words[word + 4]!;
    const layout = format >>> 1;
    if (this.#type === FILE) return layout === DataLayout.CHUNK_BASED && this.#placeChunks(body, union);
    if (this.#type === DIRECTORY || this.#type === SYMLINK) return this.#placeFlat(body, union, layout);
    return this.#type !== 0 && layout === DataLayout.FLAT_PLAIN;
  }

  #placeChunks(body: number, union: number): boolean {
    const { bytes, blockSize, chunkSize } = this.#area;
    const chunk = decodeChunkFormat(union, blockSize);
    if (chunk === undefined || (chunk !== chunkSize && chunk < this.#size)) return false;
    this.#oneRun = chunk > chunkSize;
    this.#chunkCount = Math.ceil(this.#size / chunkSize);
    this.#dataOffset = alignUp(body, CHUNK_ARRAY_ALIGNMENT);
    return this.#chunkCount === 0 || this.#dataOffset + this.#chunkCount * CHUNK_ENTRY_SIZE <= bytes.length;
  }

  #placeFlat(body: number, union: number, layout: number): boolean {
    const { bytes, blockSize } = this.#area;
    if (layout !== DataLayout.FLAT_PLAIN && layout !== DataLayout.FLAT_INLINE) return false;
    if (this.#type === SYMLINK && (this.#size === 0 || this.#size > MAX_SYMLINK_SIZE)) return false;
    const tail = layout === DataLayout.FLAT_INLINE ? this.#size % blockSize : 0;
    const inBlocks = this.#size - tail;
    this.#dataOffset = union * blockSize;
    if (tail > 0) this.#tailOffset = body;
    if (inBlocks > 0 && this.#dataOffset + inBlocks > bytes.length) return false;
    return tail === 0 || (tail <= blockSize - (body % blockSize) && body + tail <= bytes.length);
  }

  /** Xattrs, target and chunk addresses of the inode of the last `look`. */
  #takeBody(): boolean {
    const { bytes, name } = this.#area;
    this.#bytesLeft -=
      this.#chunkCount * CHUNK_ENTRY_SIZE + this.#xattrSize + (this.#type === SYMLINK ? this.#size : 0);
    if (this.#bytesLeft < 0) return false;
    if (this.#xattrSize > 0) {
      try {
        decodeXattrs(bytes, this.#xattrOffset, this.#xattrSize, name);
      } catch {
        return false;
      }
    }
    return this.#type === SYMLINK ? this.#isTarget() : this.#areChunks();
  }

  #isTarget(): boolean {
    const { bytes, blockSize } = this.#area;
    const tail = this.#tailOffset < 0 ? 0 : this.#size % blockSize;
    for (let at = this.#dataOffset; at < this.#dataOffset + this.#size - tail; at++)
      if (bytes[at] === 0) return false;
    for (let at = this.#tailOffset; at < this.#tailOffset + tail; at++) if (bytes[at] === 0) return false;
    return true;
  }

  #areChunks(): boolean {
    const { blockSize, chunkSize } = this.#area;
    let firstDevice = 0;
    let firstOffset = 0;
    for (let k = 0; k < this.#chunkCount; k++) {
      const word = this.#dataOffset / 4 + k * 2;
      const place = this.#words[word]!;
      const block = this.#words[word + 1]!;
      const device = (place >>> 16) & 0xff;
      const blob = this.#blobs[device - 1];
      if (block === HOLE_BLOCK || blob === undefined) return false;
      if (((place & 0xffff) | ((place >>> 24) << 16)) >= blob.chunkCount) return false;
      const offset = block * blockSize;
      const end = offset + Math.min(chunkSize, this.#size - k * chunkSize);
      if (offset >= blob.uncompressedSize || end > blob.uncompressedSize) return false;
      if (k === 0) {
        firstDevice = device;
        firstOffset = offset;
      } else if (this.#oneRun && (device !== firstDevice || offset !== firstOffset + k * chunkSize)) {
        return false;
      }
    }
    return true;
  }
}

function isDots(bytes: Buffer, name: number, end: number): boolean {
  return bytes[name] === DOT && (end - name === 1 || (end - name === 2 && bytes[name + 1] === DOT));
}
