import { crc32c, DIGEST_SIZE } from '../../codec/digest.js';
import { PLACE_SIZE } from '../chunk-places.js';
import { bitmapSize } from './bitmap.js';

/**
 * The chunk map file, `<blob id>.map`. Numbers are little-endian.
 *
 *     0      header, 4096 bytes
 *     4096   bitmap of the chunks that the data file holds
 *            bitmap of those among them that must be verified again before use
 *     align  a digest of 32 bytes per chunk: what its bytes in the data file were verified against
 *            decoded offset (double) of each chunk, then size (32 bits) of each: `ChunkPlaces`
 *            when each chunk was last used, and if it belongs to a start (32 bits, `ChunkUses`); only a hint, written
 *            from time to time
 *
 * The digests bind a chunk to what vouched for it. Blob ids are only names until a whole blob was read, so an image
 * that lies about a shared blob could otherwise plant bytes that another image then takes for verified.
 */
const MAGIC = Buffer.from('RAFTRMAP', 'latin1');
const VERSION = 3;
/** Bytes of the header. */
export const MAP_HEADER_SIZE = 4096;
const RECORD_ALIGNMENT = 4096;

const AT_MAGIC = 0;
const AT_VERSION = 8;
const AT_STATE = 12;
const AT_CHUNK_COUNT = 16;
const AT_BITMAPS_CRC = 20;
const AT_DECODED_SIZE = 24;
const AT_FINGERPRINT = 32;
const AT_BLOB_ID = 64;
const AT_DATA_INODE = 128;
const AT_DATA_MTIME = 136;
const AT_HEADER_CRC = 144;

const BLOB_ID_SIZE = 64;
const USE_SIZE = 4;
const STATE_DIRTY = 0;
const STATE_CLEAN = 1;

/** Which version of which file the map was closed with: a data file that was touched or replaced since has another. */
export interface DataStamp {
  inode: bigint;
  /** Nanoseconds. */
  mtime: bigint;
}

/** What a map file belongs to. All of it must match. */
export interface MapIdentity {
  blobId: string;
  chunkCount: number;
  decodedSize: number;
  /** `fingerprintOf` the layout, 64 hex digits. */
  fingerprint: string;
}

export interface MapHeader extends MapIdentity {
  /** Set if the map was closed in good order: the bits may be trusted as long as the data file still has this stamp. */
  clean: { stamp: DataStamp; bitmapsCrc: number } | undefined;
}

/** Where the parts of a map file of `chunkCount` chunks lie, in bytes. The two bitmaps are adjacent and of one size. */
export function mapPlaces(chunkCount: number): {
  bitmaps: number;
  records: number;
  places: number;
  uses: number;
  size: number;
} {
  const bitmapsEnd = MAP_HEADER_SIZE + 2 * bitmapSize(chunkCount);
  const records = Math.ceil(bitmapsEnd / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;
  const places = records + chunkCount * DIGEST_SIZE;
  const uses = places + chunkCount * PLACE_SIZE;
  return { bitmaps: MAP_HEADER_SIZE, records, places, uses, size: uses + chunkCount * USE_SIZE };
}

/** The 4096 bytes of a map's header. */
export function encodeMapHeader(header: MapHeader): Buffer {
  const bytes = Buffer.alloc(MAP_HEADER_SIZE);
  MAGIC.copy(bytes, AT_MAGIC);
  bytes.writeUInt32LE(VERSION, AT_VERSION);
  bytes.writeUInt32LE(header.clean ? STATE_CLEAN : STATE_DIRTY, AT_STATE);
  bytes.writeUInt32LE(header.chunkCount, AT_CHUNK_COUNT);
  bytes.writeBigUInt64LE(BigInt(header.decodedSize), AT_DECODED_SIZE);
  bytes.write(header.fingerprint, AT_FINGERPRINT, 'hex');
  bytes.write(header.blobId, AT_BLOB_ID, BLOB_ID_SIZE, 'latin1');
  if (header.clean) {
    bytes.writeUInt32LE(header.clean.bitmapsCrc, AT_BITMAPS_CRC);
    bytes.writeBigUInt64LE(header.clean.stamp.inode, AT_DATA_INODE);
    bytes.writeBigInt64LE(header.clean.stamp.mtime, AT_DATA_MTIME);
  }
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, AT_HEADER_CRC)), AT_HEADER_CRC);
  return bytes;
}

/** Reads the start of a map file; undefined if it is not one of this version, or short or damaged. */
export function decodeMapHeader(bytes: Buffer): MapHeader | undefined {
  if (bytes.length < MAP_HEADER_SIZE) return undefined;
  if (!bytes.subarray(AT_MAGIC, AT_MAGIC + MAGIC.length).equals(MAGIC)) return undefined;
  if (bytes.readUInt32LE(AT_VERSION) !== VERSION) return undefined;
  if (bytes.readUInt32LE(AT_HEADER_CRC) !== crc32c(bytes.subarray(0, AT_HEADER_CRC))) return undefined;
  const id = bytes.subarray(AT_BLOB_ID, AT_BLOB_ID + BLOB_ID_SIZE);
  const idEnd = id.indexOf(0);
  const stamp = { inode: bytes.readBigUInt64LE(AT_DATA_INODE), mtime: bytes.readBigInt64LE(AT_DATA_MTIME) };
  return {
    blobId: id.toString('latin1', 0, idEnd < 0 ? id.length : idEnd),
    chunkCount: bytes.readUInt32LE(AT_CHUNK_COUNT),
    decodedSize: Number(bytes.readBigUInt64LE(AT_DECODED_SIZE)),
    fingerprint: bytes.toString('hex', AT_FINGERPRINT, AT_FINGERPRINT + DIGEST_SIZE),
    clean:
      bytes.readUInt32LE(AT_STATE) === STATE_CLEAN
        ? { stamp, bitmapsCrc: bytes.readUInt32LE(AT_BITMAPS_CRC) }
        : undefined,
  };
}

/** True if both name the same blob with the same chunks in the same places. */
export function sameIdentity(a: MapIdentity, b: MapIdentity): boolean {
  return (
    a.blobId === b.blobId &&
    a.chunkCount === b.chunkCount &&
    a.decodedSize === b.decodedSize &&
    a.fingerprint === b.fingerprint
  );
}
