/** Fields of a ustar header (POSIX.1 pax Interchange Format): offset and length in the 512-byte block. */
const NAME = { offset: 0, length: 100 };
const MODE = { offset: 100, length: 8 };
const UID = { offset: 108, length: 8 };
const GID = { offset: 116, length: 8 };
const SIZE = { offset: 124, length: 12 };
const MTIME = { offset: 136, length: 12 };
const CHECKSUM = { offset: 148, length: 8 };
const TYPE = { offset: 156, length: 1 };
const LINK = { offset: 157, length: 100 };
const MAGIC = { offset: 257, length: 8 };
const DEVMAJOR = { offset: 329, length: 8 };
const DEVMINOR = { offset: 337, length: 8 };

/** Everything in a tar is a multiple of this. */
export const TAR_BLOCK = 512;
const MAGIC_USTAR = Buffer.from('ustar\x0000', 'latin1');

/** A plain entry. `size` is the bytes of content that follow. */
interface PlainEntry {
  name: string;
  type: 'file' | 'dir';
  mode: number;
  size: number;
}

/** All fields of a header but for owner names. Numbers must fit: 7 octal digits, or 11 for the time. */
export interface UstarFields {
  /** At most MAX_USTAR_NAME bytes, as is the link's. */
  name: Buffer;
  /** The type flag, such as `0` for a file (POSIX, ustar). */
  flag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  link?: Buffer;
  rdev?: { major: number; minor: number } | undefined;
}

/** Most bytes of a name in a header, and most of the number fields. */
export const MAX_USTAR_NAME = NAME.length;
export const MAX_USTAR_ID = 0o7777777;
export const MAX_USTAR_SIZE = 0o77777777777;

/** The 512-byte header of an entry, byte for byte as Go's archive/tar writes it. */
export function encodeUstar(fields: UstarFields): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  putBytes(header, NAME, fields.name);
  putOctal(header, MODE, fields.mode);
  putOctal(header, UID, fields.uid);
  putOctal(header, GID, fields.gid);
  if (fields.size <= MAX_USTAR_SIZE) putOctal(header, SIZE, fields.size);
  else putBase256(header, SIZE, fields.size);
  putOctal(header, MTIME, fields.mtime);
  header.write(fields.flag, TYPE.offset, 'latin1');
  if (fields.link) putBytes(header, LINK, fields.link);
  MAGIC_USTAR.copy(header, MAGIC.offset);
  putOctal(header, DEVMAJOR, fields.rdev?.major ?? 0);
  putOctal(header, DEVMINOR, fields.rdev?.minor ?? 0);
  header.write(`${checksumOf(header).toString(8).padStart(6, '0')}\0 `, CHECKSUM.offset, 'latin1');
  return header;
}

/** The header of a file or directory owned by 0:0 with time 0. The name may have at most 100 bytes. */
export function encodeTarHeader({ name, type, mode, size }: PlainEntry): Buffer {
  if (Buffer.byteLength(name) > MAX_USTAR_NAME) throw new Error(`no plain tar entry: ${name}`);
  const flag = type === 'dir' ? '5' : '0';
  return encodeUstar({ name: Buffer.from(name), flag, mode, uid: 0, gid: 0, size, mtime: 0 });
}

/** Sum of the header's bytes with the checksum field counted as spaces. */
function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < TAR_BLOCK; i++) {
    const isField = i >= CHECKSUM.offset && i < CHECKSUM.offset + CHECKSUM.length;
    sum += isField ? 0x20 : header[i]!;
  }
  return sum;
}

interface Field {
  offset: number;
  length: number;
}

function putBytes(header: Buffer, { offset, length }: Field, bytes: Buffer): void {
  if (bytes.length > length) throw new Error(`${bytes.length} bytes do not fit a tar header field`);
  bytes.copy(header, offset);
}

/** Octal digits that fill the field up to one closing NUL. */
function putOctal(header: Buffer, { offset, length }: Field, value: number): void {
  const digits = value.toString(8).padStart(length - 1, '0');
  if (digits.length > length - 1) throw new Error(`${value} does not fit a tar header field`);
  header.write(`${digits}\0`, offset, 'latin1');
}

/** GNU's form for large numbers: big-endian, the first bit set. */
function putBase256(header: Buffer, { offset, length }: Field, value: number): void {
  header[offset] = 0x80;
  header.writeUIntBE(value % 2 ** 48, offset + length - 6, 6);
  header.writeUIntBE(Math.floor(value / 2 ** 48), offset + length - 8, 2);
}
