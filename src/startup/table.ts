import { compress } from '../codec/compressor.js';
import { DIGEST_SIZE } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { fieldChecks } from './field-checks.js';

/**
 * A start-up pack: copies of those pieces of an image's blobs, in decoded address space, that are read when its containers start, in
 * the order of their first use. Numbers are little-endian.
 *
 *     0     header, 64 bytes
 *     64    table, one zstd frame; decoded: a record of 64 bytes per blob, of 48 per unit, of 16 per piece
 *     then  the units, one zstd frame each, in order
 *
 * Decoded, the units are the pieces, end to end. Header and table are vouched for by a digest in the image's manifest, each unit by
 * one in the table, so that a reader can use every unit as soon as it has come, and decodes nothing that it has not verified.
 */
const MAGIC = Buffer.from('RAFTRSTP', 'latin1');
const VERSION = 1;
/** Bytes of the header. */
export const HEADER_SIZE = 64;

const AT_MAGIC = 0;
const AT_VERSION = 8;
const AT_STORED_TABLE = 12;
const AT_BLOBS = 16;
const AT_UNITS = 20;
const AT_PIECES = 24;
const AT_READ_AHEAD = 28;
const AT_HEADER_RESERVED = 32;

const BLOB_RECORD = 64;
const UNIT_RECORD = 48;
const PIECE_RECORD = 16;

const UNIT_DECODED = 4;
const UNIT_PIECES = 8;
const UNIT_RESERVED = 12;
const UNIT_DIGEST = 16;
const PIECE_LENGTH = 8;
const PIECE_BLOB = 12;

/** Most blobs of a pack. */
export const MAX_BLOBS = 4096;
/** Most units: as many MiB. */
export const MAX_UNITS = 16_384;
/** Most pieces. */
export const MAX_PIECES = 1 << 20;
/** Most decoded bytes of a unit, and the size that units are made in. */
export const MAX_UNIT_SIZE = 1 << 20;
/** Most stored bytes of a unit: zstd makes what does not shrink a little larger. */
const MAX_STORED_UNIT_SIZE = MAX_UNIT_SIZE + (64 << 10);
/** Most stored bytes of the table. */
export const MAX_STORED_TABLE_SIZE = 16 << 20;
/** Most KiB of read-ahead. */
export const MAX_READ_AHEAD = 1 << 20;
const TABLE_LEVEL = 19;
const BLOB_ID = /^[0-9A-Za-z]{1,64}$/;

/** Bytes of one blob, in decoded address space. */
interface Piece {
  /** Position in the pack's list of blobs. */
  blob: number;
  offset: number;
  length: number;
  /** Where its bytes are in the decoded pack. They lie in one unit. */
  position: number;
  unit: number;
}

interface PackUnit {
  /** Where it starts in the file. */
  storedOffset: number;
  storedSize: number;
  /** Where it starts in the decoded pack. */
  position: number;
  decodedSize: number;
  pieceCount: number;
  /** BLAKE3 of the stored bytes. */
  digest: Buffer;
}

/** What a pack says about itself. */
export interface PackTable {
  /** KiB of kernel read-ahead that the reads were recorded with; 0 if that is not known. */
  readAhead: number;
  /** Ids of the blobs, each once. */
  blobs: string[];
  units: PackUnit[];
  /** In the order of their bytes. No two of them overlap. */
  pieces: Piece[];
  /** Bytes of the file. */
  size: number;
  /** Bytes of the decoded pack. */
  decodedSize: number;
}

/** What a table is made of: the rest follows from it. */
export interface TableParts {
  readAhead: number;
  blobs: readonly string[];
  units: readonly Pick<PackUnit, 'storedSize' | 'decodedSize' | 'pieceCount' | 'digest'>[];
  pieces: readonly Pick<Piece, 'blob' | 'offset' | 'length'>[];
}

/** Header and table of a pack, as they stand at its beginning. */
export function encodeTable({ readAhead, blobs, units, pieces }: TableParts): Buffer {
  const table = Buffer.alloc(
    blobs.length * BLOB_RECORD + units.length * UNIT_RECORD + pieces.length * PIECE_RECORD,
  );
  let at = 0;
  for (const id of blobs) {
    table.write(id, at, BLOB_RECORD, 'latin1');
    at += BLOB_RECORD;
  }
  for (const { storedSize, decodedSize, pieceCount, digest } of units) {
    table.writeUInt32LE(storedSize, at);
    table.writeUInt32LE(decodedSize, at + UNIT_DECODED);
    table.writeUInt32LE(pieceCount, at + UNIT_PIECES);
    digest.copy(table, at + UNIT_DIGEST);
    at += UNIT_RECORD;
  }
  for (const { blob, offset, length } of pieces) {
    table.writeBigUInt64LE(BigInt(offset), at);
    table.writeUInt32LE(length, at + PIECE_LENGTH);
    table.writeUInt32LE(blob, at + PIECE_BLOB);
    at += PIECE_RECORD;
  }
  const stored = compress('zstd', table, TABLE_LEVEL);
  const header = Buffer.alloc(HEADER_SIZE);
  MAGIC.copy(header, AT_MAGIC);
  header.writeUInt32LE(VERSION, AT_VERSION);
  header.writeUInt32LE(stored.length, AT_STORED_TABLE);
  header.writeUInt32LE(blobs.length, AT_BLOBS);
  header.writeUInt32LE(units.length, AT_UNITS);
  header.writeUInt32LE(pieces.length, AT_PIECES);
  header.writeUInt32LE(readAhead, AT_READ_AHEAD);
  return Buffer.concat([header, stored]);
}

/**
 * Reads header and table, the first bytes of a pack, which were verified. Every count, size, order and overlap is checked: MALFORMED
 * says what and at which offset, of the file or of the decoded table; LIMIT_EXCEEDED and UNSUPPORTED as they say. `name` is the
 * pack's, for messages.
 */
export function parseTable(bytes: Buffer, name: string): PackTable {
  const checks = fieldChecks(name);
  if (bytes.length < HEADER_SIZE)
    throw checks.fault('header', 0, `${bytes.length} bytes instead of ${HEADER_SIZE}`);
  if (!bytes.subarray(AT_MAGIC, AT_VERSION).equals(MAGIC))
    throw checks.fault('magic', AT_MAGIC, 'this is no start-up pack');
  const version = bytes.readUInt32LE(AT_VERSION);
  if (version !== VERSION)
    throw new RafterError('UNSUPPORTED', `${name}: start-up pack of version ${version}`, {
      hint: 'a newer rafter reads it; this one starts the image without it',
    });
  const header = (field: string, at: number, limit: number) =>
    checks.limited(field, at, { value: bytes.readUInt32LE(at), limit });
  const storedTable = header('table size', AT_STORED_TABLE, MAX_STORED_TABLE_SIZE);
  const blobCount = header('blob count', AT_BLOBS, MAX_BLOBS);
  const unitCount = header('unit count', AT_UNITS, MAX_UNITS);
  const pieceCount = header('piece count', AT_PIECES, MAX_PIECES);
  const readAhead = header('read-ahead', AT_READ_AHEAD, MAX_READ_AHEAD);
  checks.zeros('reserved bytes', AT_HEADER_RESERVED, bytes.subarray(AT_HEADER_RESERVED, HEADER_SIZE));
  if (HEADER_SIZE + storedTable !== bytes.length)
    throw checks.fault(
      'table size',
      AT_STORED_TABLE,
      `${storedTable}, but there are ${bytes.length - HEADER_SIZE}`,
    );
  const table = checks.decoded('table', HEADER_SIZE, {
    stored: bytes.subarray(HEADER_SIZE),
    size: blobCount * BLOB_RECORD + unitCount * UNIT_RECORD + pieceCount * PIECE_RECORD,
  });
  const unitsAt = blobCount * BLOB_RECORD;
  const piecesAt = unitsAt + unitCount * UNIT_RECORD;
  const units = readUnits(table.subarray(unitsAt, piecesAt), { at: unitsAt, start: bytes.length, checks });
  const pieces = readPieces(table.subarray(piecesAt), { at: piecesAt, unitsAt, units, blobCount, checks });
  const last = units.at(-1);
  return {
    readAhead,
    blobs: readBlobs(table.subarray(0, unitsAt), checks),
    units,
    pieces,
    size: last === undefined ? bytes.length : last.storedOffset + last.storedSize,
    decodedSize: last === undefined ? 0 : last.position + last.decodedSize,
  };
}

type Checks = ReturnType<typeof fieldChecks>;

function readBlobs(records: Buffer, checks: Checks): string[] {
  const blobs: string[] = [];
  for (let at = 0; at < records.length; at += BLOB_RECORD) {
    const id = records.toString('latin1', at, at + BLOB_RECORD).replace(/\0+$/, '');
    if (!BLOB_ID.test(id)) throw checks.fault(`id of blob ${blobs.length}`, at, 'not letters and digits');
    if (blobs.includes(id)) throw checks.fault(`id of blob ${blobs.length}`, at, 'there twice');
    blobs.push(id);
  }
  return blobs;
}

function readUnits(
  records: Buffer,
  { at: base, start, checks }: { at: number; start: number; checks: Checks },
): PackUnit[] {
  const units: PackUnit[] = [];
  let storedOffset = start;
  let position = 0;
  for (let at = 0; at < records.length; at += UNIT_RECORD) {
    const field = (name: string, within: number, limit: number) =>
      checks.counted(`${name} of unit ${units.length}`, base + at + within, {
        value: records.readUInt32LE(at + within),
        limit,
      });
    const storedSize = field('stored size', 0, MAX_STORED_UNIT_SIZE);
    const decodedSize = field('decoded size', UNIT_DECODED, MAX_UNIT_SIZE);
    const pieceCount = field('piece count', UNIT_PIECES, MAX_PIECES);
    const reserved = records.subarray(at + UNIT_RESERVED, at + UNIT_DIGEST);
    checks.zeros(`reserved bytes of unit ${units.length}`, base + at + UNIT_RESERVED, reserved);
    const digest = Buffer.from(records.subarray(at + UNIT_DIGEST, at + UNIT_DIGEST + DIGEST_SIZE));
    units.push({ storedOffset, storedSize, position, decodedSize, pieceCount, digest });
    storedOffset += storedSize;
    position += decodedSize;
  }
  return units;
}

function readPieces(
  records: Buffer,
  options: { at: number; unitsAt: number; units: PackUnit[]; blobCount: number; checks: Checks },
): Piece[] {
  const { at: base, unitsAt, units, blobCount, checks } = options;
  const count = records.length / PIECE_RECORD;
  const pieces: Piece[] = [];
  for (const [unit, { position: start, decodedSize, pieceCount }] of units.entries()) {
    let position = start;
    for (let i = 0; i < pieceCount && pieces.length < count; i++) {
      const index = pieces.length;
      const at = index * PIECE_RECORD;
      const offset = Number(records.readBigUInt64LE(at));
      const length = records.readUInt32LE(at + PIECE_LENGTH);
      const blob = records.readUInt32LE(at + PIECE_BLOB);
      if (blob >= blobCount)
        throw checks.fault(`blob of piece ${index}`, base + at + PIECE_BLOB, `${blob} of ${blobCount}`);
      if (length === 0) throw checks.fault(`length of piece ${index}`, base + at + PIECE_LENGTH, '0');
      if (!Number.isSafeInteger(offset + length))
        throw checks.fault(`offset of piece ${index}`, base + at, `${offset} is in no blob`);
      pieces.push({ blob, offset, length, position, unit });
      position += length;
    }
    if (position !== start + decodedSize)
      throw checks.fault(
        `decoded size of unit ${unit}`,
        unitsAt + unit * UNIT_RECORD + UNIT_DECODED,
        `${decodedSize}, but its pieces have ${position - start}`,
      );
  }
  if (pieces.length !== count || units.reduce((sum, { pieceCount }) => sum + pieceCount, 0) !== count)
    throw checks.fault('piece count', AT_PIECES, `${count}, but the units have others`);
  checkOverlaps(pieces, base, checks);
  return pieces;
}

function checkOverlaps(pieces: Piece[], base: number, checks: Checks): void {
  const order = pieces.map((_, index) => index);
  order.sort((a, b) => pieces[a]!.blob - pieces[b]!.blob || pieces[a]!.offset - pieces[b]!.offset);
  for (let i = 1; i < order.length; i++) {
    const [before, after] = [pieces[order[i - 1]!]!, pieces[order[i]!]!];
    if (before.blob === after.blob && before.offset + before.length > after.offset)
      throw checks.fault(
        `offset of piece ${order[i]}`,
        base + order[i]! * PIECE_RECORD,
        `overlaps piece ${order[i - 1]}`,
      );
  }
}
