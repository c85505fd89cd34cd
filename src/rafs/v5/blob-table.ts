import { DIGEST_SIZE } from '../../codec/digest.js';
import { RafterError } from '../../errors.js';
import { malformed, readU64 } from '../binary.js';
import { BLOB_ID_SIZE, type BlobEntry } from '../blob-entry.js';
import { BlobFeature } from '../blob-features.js';
import { MAX_CHUNK_COUNT, MAX_DECODED_SIZE, MAX_STORED_SIZE } from '../limits.js';
import { EXT_BLOB_ENTRY_SIZE, type SuperblockV5 } from './superblock.js';

/** Bytes of the prefetch range in front of each id. */
const ENTRY_HEAD_SIZE = 8;

const CHUNK_COUNT = 0;
const FEATURES = 4;
const UNCOMPRESSED_SIZE = 8;
const COMPRESSED_SIZE = 16;

/** Blobs that one bootstrap may name: twice what an image of 127 layers, each with a chunk dictionary, would need. */
export const MAX_BLOBS_V5 = 512;

/**
 * Reads the blob table and its extension (RAFS v5 format). Compressor and digest algorithm are the image's; v5 blobs have no
 * compression contexts, so `ci` is empty. Without the extension, which old images lack, counts and sizes are 0.
 * Throws MALFORMED naming field and offset, LIMIT_EXCEEDED.
 */
export function readBlobTableV5(bytes: Buffer, superblock: SuperblockV5, name: string): BlobEntry[] {
  const places = readIds(bytes, superblock, name);
  const { offset: extOffset, size: extSize } = superblock.extBlobTable;
  if (extSize > 0 && extSize < places.length * EXT_BLOB_ENTRY_SIZE) {
    throw malformed(
      name,
      'extended blob table',
      extOffset,
      `${extSize} bytes for ${places.length} blobs of ${EXT_BLOB_ENTRY_SIZE}`,
    );
  }
  return places.map(({ id }, index) => {
    const at = extOffset + index * EXT_BLOB_ENTRY_SIZE;
    const within = (field: string, offset: number, value: number, limit: number): number => {
      if (value <= limit) return value;
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${name}: extended blob table ${field} at offset ${at + offset}: ${value}; at most ${limit}`,
      );
    };
    const has = extSize > 0;
    const u64 = (offset: number) => (has ? readU64(bytes, at + offset) : 0);
    return {
      id,
      index,
      chunkSize: superblock.chunkSize,
      chunkCount: within('chunk_count', CHUNK_COUNT, has ? bytes.readUInt32LE(at) : 0, MAX_CHUNK_COUNT),
      compressor: superblock.choice.compressor,
      digester: superblock.choice.digester,
      features: has ? bytes.readUInt32LE(at + FEATURES) : BlobFeature.V5_NO_EXT_BLOB_TABLE,
      compressedSize: within('compressed_size', COMPRESSED_SIZE, u64(COMPRESSED_SIZE), MAX_STORED_SIZE),
      uncompressedSize: within(
        'uncompressed_size',
        UNCOMPRESSED_SIZE,
        u64(UNCOMPRESSED_SIZE),
        MAX_DECODED_SIZE,
      ),
      tocSize: 0,
      tocDigest: Buffer.alloc(DIGEST_SIZE),
      ci: { compressor: 'none', offset: 0, compressedSize: 0, uncompressedSize: 0 },
      metaDigest: Buffer.alloc(DIGEST_SIZE),
      metaSize: 0,
    };
  });
}

/** The ids: behind two numbers each, with a NUL between one and the next. */
function readIds(bytes: Buffer, { blobTable }: SuperblockV5, name: string): { id: string }[] {
  const end = blobTable.offset + blobTable.size;
  const blobs: { id: string }[] = [];
  const seen = new Set<string>();
  for (let at = blobTable.offset; at + ENTRY_HEAD_SIZE < end; ) {
    const start = at + ENTRY_HEAD_SIZE;
    const nul = bytes.subarray(start, end).indexOf(0);
    const stop = nul < 0 ? end : start + nul;
    const id = bytes.toString('latin1', start, Math.min(stop, start + BLOB_ID_SIZE + 1));
    if (id.length > BLOB_ID_SIZE || !/^[0-9A-Za-z]+$/.test(id))
      throw malformed(name, 'blob table blob_id', start, `must be 1 to ${BLOB_ID_SIZE} letters and digits`);
    if (seen.has(id)) throw malformed(name, 'blob table blob_id', start, `${id} is there twice`);
    if (blobs.length >= MAX_BLOBS_V5)
      throw new RafterError('LIMIT_EXCEEDED', `${name}: more than ${MAX_BLOBS_V5} blobs`);
    seen.add(id);
    blobs.push({ id });
    at = stop + 1;
  }
  return blobs;
}
