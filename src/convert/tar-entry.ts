import type { Xattr } from '../rafs/tree.js';

/** Bytes of one tar record: headers and extents are whole records. */
export const TAR_BLOCK_SIZE = 512;
/**
 * Most bytes of one extended header (PAX records, a GNU long name) and of one sparse map. Go's archive/tar, with which
 * container tools read layers, has the same limit.
 */
export const MAX_EXTENDED_HEADER_SIZE = 1 << 20;
/** Most bytes of a path: PATH_MAX of Linux without the NUL. */
export const MAX_PATH_SIZE = 4095;
/** Most bytes of a file: the decoded address space of one RAFS blob. */
export const MAX_FILE_SIZE = 2 ** 44;
/** Most extents of one sparse file. */
export const MAX_SPARSE_EXTENTS = 1 << 18;
/** Most entries of one layer. */
export const MAX_LAYER_ENTRIES = 1 << 22;
/** Most of a uid or gid; the next number is the kernel's "no id". */
export const MAX_OWNER_ID = 0xfffffffe;

/** The kinds of tar entries that a layer may hold. */
export type TarEntryType = 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

/** One entry of a tar without its content. */
export interface TarEntryHead {
  /** The name as it stands in the tar: may be absolute, may hold `.` and `..`, any bytes but NUL. */
  path: Buffer;
  type: TarEntryType;
  /** Permission, set-id and sticky bits: 0 to 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970, may be negative, and nanoseconds 0 to 999999999. */
  mtimeSec: number;
  mtimeNsec: number;
  /** Target of a symlink; name of the other entry for a hard link. Otherwise empty. */
  linkTarget: Buffer;
  /** Device numbers; 0 for what is no device. */
  rdev: { major: number; minor: number };
  /** Each name once. */
  xattrs: Xattr[];
  /** Bytes of the file's content, holes of sparse files included. 0 for what is no file. */
  size: number;
}

/** One entry of a tar. `body` gives exactly `size` bytes; what is not read before the next entry is passed over. */
export interface TarEntry extends TarEntryHead {
  body: AsyncIterable<Buffer>;
}

/** Printable form of a name for messages: UTF-8 text in quotes, bytes that are none and control characters escaped. */
export function showPath(path: Buffer): string {
  const text = path.toString('utf8');
  if (!text.includes('\ufffd')) return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text);
  const escaped = [...path.subarray(0, 300)].map((byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x5c && byte !== 0x22
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, '0')}`,
  );
  return `"${escaped.join('')}${path.length > 300 ? '…' : ''}"`;
}
