/** Block size of every RAFS v6 image except tarfs, bytes. */
export const BLOCK_SIZE = 4096;
/** Smallest and largest chunk size, bytes; a chunk size is a power of two. */
export const MIN_CHUNK_SIZE = 0x1000;
export const MAX_CHUNK_SIZE = 0x1000000;
/** Blobs that one bootstrap can name: the device id in a chunk index entry has 8 bits, and 0 is the bootstrap. */
export const MAX_BLOBS = 254;
/** Chunks that one blob can hold when written; the index has 24 bits and the last value is refused by Nydus. */
export const MAX_CHUNKS_PER_BLOB = 0xffffff;
/** Chunk count that a reader accepts in a blob table entry. */
export const MAX_CHUNK_COUNT = 0x1000000;
/** Stored bytes of one blob: stored offsets have 40 bits. */
export const MAX_STORED_SIZE = 2 ** 40;
/** Decoded bytes of one blob: block numbers have 32 bits. */
export const MAX_DECODED_SIZE = 2 ** 44;
/** Bytes of one directory entry's name. */
export const MAX_NAME_SIZE = 255;
/** Bytes of a symbolic link's target; the kernel reads one page with a NUL behind the text. */
export const MAX_SYMLINK_SIZE = 4095;
/** Bytes of an xattr's full name, and of its value. */
export const MAX_XATTR_NAME_SIZE = 255;
export const MAX_XATTR_VALUE_SIZE = 65535;
/** Device numbers: 12 and 20 bits in the encoding that EROFS uses. */
export const MAX_DEVICE_MAJOR = 0xfff;
export const MAX_DEVICE_MINOR = 0xfffff;
/** Decoded bytes of one batch. nydusd mounts larger ones and then fails to read them. */
export const MAX_BATCH_SIZE = 0x1000000;
/**
 * Decoded bytes of one slice of a gzip file, and its bytes in the file. nydus-image begins a new slice where it can before every chunk
 * once one has 2 MiB, so it ends with a whole chunk (16 MiB at most) behind what was there and what its deflate block goes on with.
 */
export const MAX_SLICE_SIZE = 0x4000000;

/** `value` rounded up to a multiple of `unit`. Both may exceed 2^32. */
export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
