import { RafterError } from '../errors.js';
import type { PaxRecord } from '../image/archive/pax.js';
import { parsePaxNumber, parseTarNumber } from '../image/archive/tar-numbers.js';
import { MAX_SPARSE_EXTENTS, TAR_BLOCK_SIZE } from './tar-entry.js';

/** Bytes of a sparse file that are in the tar: `size` bytes that belong at `offset` of the file. */
interface SparseExtent {
  offset: number;
  size: number;
}

/** How a sparse file is packed (GNU tar manual, "Storing Sparse Files"). */
export interface SparseFile {
  /** Bytes of the file with its holes. */
  realSize: number;
  /** Undefined for PAX format 1.0, where the map stands in front of the packed data. */
  extents: SparseExtent[] | undefined;
  /** The file's name; undefined where the entry's name is the right one. */
  name?: Buffer;
}

/** GNU format: header block offsets of the four extents, of the flag for extension blocks and of the real size. */
const HEADER_EXTENTS = { offset: 386, count: 4, more: 482 };
const REAL_SIZE = { offset: 483, size: 12 };
/** An extension block holds 21 extents and the flag for yet another one. */
const EXTENSION_EXTENTS = { offset: 0, count: 21, more: 504 };
const NUMBER_SIZE = 12;
/** Most digits of one number in a map of format 1.0; 2^53 has 16. */
const MAX_DIGITS = 16;

/** A whole piece of a hole. Holes come in these, cut at multiples of its size in the file, so that readers can tell them by identity. */
export const HOLE = Buffer.alloc(1 << 20);

/** True if the header block of a GNU sparse entry (type S) says that extension blocks follow it. */
export function hasSparseExtension(header: Buffer): boolean {
  return header[HEADER_EXTENTS.more] !== 0;
}

/** The map of an entry of type S, from its header block and the extension blocks behind it. MALFORMED for numbers that cannot be. */
export function parseGnuSparse(header: Buffer, extensions: Buffer[], what: string): SparseFile {
  const extents = readExtents(header, HEADER_EXTENTS, what);
  for (const block of extensions) extents.push(...readExtents(block, EXTENSION_EXTENTS, what));
  const realSize = parseTarNumber(
    header.subarray(REAL_SIZE.offset, REAL_SIZE.offset + REAL_SIZE.size),
    `${what}: real size`,
  );
  if (realSize < 0) throw new RafterError('MALFORMED', `${what}: negative real size`);
  return { realSize, extents };
}

/** True if another extension block follows this one. */
export function continuesSparseExtension(block: Buffer): boolean {
  return block[EXTENSION_EXTENTS.more] !== 0;
}

function readExtents(block: Buffer, table: { offset: number; count: number }, what: string): SparseExtent[] {
  const extents: SparseExtent[] = [];
  for (let i = 0; i < table.count; i++) {
    const at = table.offset + i * 2 * NUMBER_SIZE;
    // The table ends at the first entry that is not filled.
    if (block[at] === 0) break;
    extents.push({
      offset: parseTarNumber(block.subarray(at, at + NUMBER_SIZE), `${what}: sparse offset`),
      size: parseTarNumber(block.subarray(at + NUMBER_SIZE, at + 2 * NUMBER_SIZE), `${what}: sparse size`),
    });
  }
  return extents;
}

/** The map that PAX records give (GNU formats 0.0, 0.1 and 1.0), or undefined if the file is not sparse. */
export function parsePaxSparse(
  records: readonly PaxRecord[],
  values: Map<string, Buffer>,
  what: string,
): SparseFile | undefined {
  const number = (key: string) => {
    const value = values.get(key);
    return value === undefined ? undefined : parsePaxNumber(value, `${what}: ${key}`);
  };
  const major = number('GNU.sparse.major');
  const minor = number('GNU.sparse.minor');
  const realSize = number('GNU.sparse.realsize') ?? number('GNU.sparse.size');
  if (major === undefined && realSize === undefined) return undefined;
  const version = `${major ?? 0}.${minor ?? 0}`;
  if (!['0.0', '0.1', '1.0'].includes(version)) {
    throw new RafterError('UNSUPPORTED', `${what}: sparse format ${version}`);
  }
  if (realSize === undefined) {
    throw new RafterError('MALFORMED', `${what}: sparse format ${version} without GNU.sparse.realsize`);
  }
  const name = values.get('GNU.sparse.name');
  const extents = version === '1.0' ? undefined : paxExtents(records, values, what);
  return { realSize, extents, ...(name && { name }) };
}

/** 0.1 has the whole map in one record; 0.0 repeats a record for each number. */
function paxExtents(
  records: readonly PaxRecord[],
  values: Map<string, Buffer>,
  what: string,
): SparseExtent[] {
  const map = values.get('GNU.sparse.map');
  const texts = map
    ? map.toString('latin1').split(',')
    : records
        .filter(([key]) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
        .map(([, value]) => value.toString('latin1'));
  return pairs(
    texts.map((text) => parsePaxNumber(Buffer.from(text, 'latin1'), `${what}: sparse map`)),
    what,
  );
}

function pairs(numbers: number[], what: string): SparseExtent[] {
  if (numbers.length % 2 !== 0)
    throw new RafterError('MALFORMED', `${what}: the sparse map has half an extent`);
  const extents: SparseExtent[] = [];
  for (let i = 0; i < numbers.length; i += 2) extents.push({ offset: numbers[i]!, size: numbers[i + 1]! });
  return extents;
}

/**
 * The content of a sparse file, holes filled with zeros. `packed` are the `packedSize` bytes that the tar holds for it.
 * MALFORMED if the map is not in order, overlaps, leaves the file or does not fit the packed bytes.
 */
export async function* expandSparse(
  sparse: SparseFile,
  packed: AsyncIterable<Buffer>,
  packedSize: number,
  what: string,
): AsyncGenerator<Buffer> {
  const source = new PieceCursor(packed, what);
  try {
    const extents = sparse.extents ?? (await readMap(source, what));
    checkExtents(extents, sparse.realSize, packedSize - source.taken, what);
    let position = 0;
    for (const { offset, size } of extents) {
      yield* holes(position, offset);
      for (let left = size; left > 0; ) {
        const piece = await source.some(left);
        left -= piece.length;
        yield piece;
      }
      position = offset + size;
    }
    yield* holes(position, sparse.realSize);
  } finally {
    await source.close();
  }
}

function* holes(from: number, to: number): Generator<Buffer> {
  for (let at = from; at < to; ) {
    const size = Math.min(HOLE.length - (at % HOLE.length), to - at);
    yield size === HOLE.length ? HOLE : HOLE.subarray(0, size);
    at += size;
  }
}

/** PAX format 1.0: the number of extents, then each offset and size, one decimal number per line, padded to a block. */
async function readMap(source: PieceCursor, what: string): Promise<SparseExtent[]> {
  const line = async () => parsePaxNumber(await source.line(), `${what}: sparse map`);
  const count = await line();
  if (count > MAX_SPARSE_EXTENTS) throw tooMany(what);
  const numbers: number[] = [];
  for (let i = 0; i < 2 * count; i++) numbers.push(await line());
  await source.skip((TAR_BLOCK_SIZE - (source.taken % TAR_BLOCK_SIZE)) % TAR_BLOCK_SIZE);
  return pairs(numbers, what);
}

/** Throws MALFORMED or LIMIT_EXCEEDED unless the extents are in order, inside the file, and `packedSize` bytes together. */
function checkExtents(extents: SparseExtent[], realSize: number, packedSize: number, what: string): void {
  if (extents.length > MAX_SPARSE_EXTENTS) throw tooMany(what);
  let end = 0;
  let total = 0;
  for (const { offset, size } of extents) {
    if (offset < end || size < 0 || offset + size > realSize) {
      throw new RafterError(
        'MALFORMED',
        `${what}: sparse extent ${offset}+${size} overlaps or leaves the file`,
      );
    }
    end = offset + size;
    total += size;
  }
  if (total !== packedSize) {
    throw new RafterError(
      'MALFORMED',
      `${what}: sparse map of ${total} bytes over ${packedSize} packed bytes`,
    );
  }
}

function tooMany(what: string): RafterError {
  return new RafterError('LIMIT_EXCEEDED', `${what}: more than ${MAX_SPARSE_EXTENTS} sparse extents`);
}

/** Takes bytes from pieces of any size. */
class PieceCursor {
  /** Bytes taken so far. */
  taken = 0;
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #what: string;
  #rest: Buffer = Buffer.alloc(0);

  constructor(pieces: AsyncIterable<Buffer>, what: string) {
    this.#pieces = pieces[Symbol.asyncIterator]();
    this.#what = what;
  }

  /** Between 1 and `most` bytes. */
  async some(most: number): Promise<Buffer> {
    while (this.#rest.length === 0) {
      const next = await this.#pieces.next();
      if (next.done)
        throw new RafterError('MALFORMED', `${this.#what}: the sparse map is longer than the entry`);
      this.#rest = next.value;
    }
    const piece = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(piece.length);
    this.taken += piece.length;
    return piece;
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.some(left)).length;
  }

  /** The bytes in front of the next newline, which is taken too. */
  async line(): Promise<Buffer> {
    const bytes: number[] = [];
    for (;;) {
      const byte = (await this.some(1))[0]!;
      if (byte === 0x0a) return Buffer.from(bytes);
      bytes.push(byte);
      if (bytes.length > MAX_DIGITS) {
        throw new RafterError(
          'MALFORMED',
          `${this.#what}: no number in its sparse map at byte ${this.taken}`,
        );
      }
    }
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }
}
