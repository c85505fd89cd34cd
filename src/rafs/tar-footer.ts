import { malformed, readPaddedText } from './binary.js';

/** Bytes of the tar header that stands BEHIND each section of a Nydus blob (GNU tar header format). */
export const TAR_FOOTER_SIZE = 512;

const NAME_SIZE = 100;
const SIZE = 124;
const SIZE_DIGITS = 11;
const MTIME = 136;
const CHECKSUM = 148;
const CHECKSUM_SIZE = 8;
const CHECKSUM_DIGITS = 7;
const TYPE = 156;
const MAGIC = 257;

const GNU_MAGIC = Buffer.from('ustar  \0', 'latin1');
const REGULAR = 0x30;
const SPACE = 0x20;
/** First byte of a size in base 256, for sections of 8 GiB and more. */
const BASE_256 = 0x80;

/** What a footer says: the section before it. */
export interface TarFooter {
  name: string;
  size: number;
}

/** The 512 bytes behind a section, byte for byte as Nydus writes them. */
export function encodeTarFooter({ name, size }: TarFooter): Buffer {
  const footer = Buffer.alloc(TAR_FOOTER_SIZE);
  footer.write(name, 0, NAME_SIZE, 'latin1');
  if (size < 8 ** SIZE_DIGITS) {
    footer.write(size.toString(8).padStart(SIZE_DIGITS, '0'), SIZE, 'latin1');
  } else {
    footer.writeUInt8(BASE_256, SIZE);
    footer.writeBigUInt64BE(BigInt(size), SIZE + 4);
  }
  footer.write('0'.repeat(11), MTIME, 'latin1');
  footer.writeUInt8(REGULAR, TYPE);
  GNU_MAGIC.copy(footer, MAGIC);
  footer.write(checksumOf(footer).toString(8).padStart(CHECKSUM_DIGITS, '0'), CHECKSUM, 'latin1');
  return footer;
}

/** Reads the 512 bytes at `offset` of `source`. MALFORMED if they are no such header. */
export function decodeTarFooter(bytes: Buffer, offset: number, source: string): TarFooter {
  const footer = bytes.subarray(offset, offset + TAR_FOOTER_SIZE);
  const wrong = (problem: string) => malformed(source, 'tar header', offset, problem);
  if (footer.length < TAR_FOOTER_SIZE) throw wrong('is cut off');
  if (!footer.subarray(MAGIC, MAGIC + GNU_MAGIC.length).equals(GNU_MAGIC))
    throw wrong('has no GNU tar magic');
  if (footer[TYPE] !== REGULAR) throw wrong('is not that of a regular file');
  const checksum = Number.parseInt(readPaddedText(footer, CHECKSUM, CHECKSUM_SIZE), 8);
  if (checksum !== checksumOf(footer)) throw wrong('has a wrong checksum');
  return { name: readPaddedText(footer, 0, NAME_SIZE), size: decodeSize(footer, wrong) };
}

function decodeSize(footer: Buffer, wrong: (problem: string) => Error): number {
  if (footer[SIZE] === BASE_256) {
    const size = footer.readBigUInt64BE(SIZE + 4);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw wrong('has a size beyond 2^53');
    return Number(size);
  }
  const digits = readPaddedText(footer, SIZE, SIZE_DIGITS + 1);
  if (!/^[0-7]{1,11}$/.test(digits)) throw wrong('has a size that is not octal');
  return Number.parseInt(digits, 8);
}

/** Sum of all bytes, the checksum field counted as spaces. */
function checksumOf(footer: Buffer): number {
  let sum = CHECKSUM_SIZE * SPACE;
  footer.forEach((byte, i) => {
    if (i < CHECKSUM || i >= CHECKSUM + CHECKSUM_SIZE) sum += byte;
  });
  return sum;
}
