import { RafterError } from '../../errors.js';
import { parseTarNumber } from './tar-numbers.js';
import { TAR_BLOCK } from './ustar.js';

/** Header block fields: offset and bytes (POSIX ustar; V7 ends before `magic`). */
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkName: [157, 100],
  magic: [257, 6],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
  starMagic: [508, 4],
} as const;
/** Schily's star uses the end of the prefix for times. */
const STAR_PREFIX_SIZE = 131;

type FieldName = keyof typeof FIELD;

/** The fields of one header block. Numbers throw MALFORMED, naming the field. */
export interface TarHeader {
  /** The type flag as a character; NUL is what V7 wrote for a file. */
  type: string;
  /** Prefix and name, not longer than 256 bytes. */
  path: Buffer;
  linkName: Buffer;
  number(field: 'mode' | 'uid' | 'gid' | 'size' | 'mtime' | 'major' | 'minor', what: string): number;
}

/** Reads a header block of TAR_BLOCK bytes. MALFORMED, naming `what`, if its checksum is wrong. */
export function readTarHeader(block: Buffer, what: string): TarHeader {
  const bytes = (field: FieldName) => block.subarray(FIELD[field][0], FIELD[field][0] + FIELD[field][1]);
  if (checksum(block) !== parseTarNumber(bytes('checksum'), `${what}: checksum`)) {
    throw new RafterError('MALFORMED', `${what}: no valid tar header (its checksum is wrong)`);
  }
  const name = untilNul(bytes('name'));
  const prefix = prefixOf(bytes('magic'), bytes('prefix'), bytes('starMagic'));
  return {
    type: String.fromCharCode(block[FIELD.typeflag[0]]!),
    path: prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]),
    linkName: untilNul(bytes('linkName')),
    number: (field, what) => parseTarNumber(bytes(field), `${what}: ${field}`),
  };
}

/** The sum of the block's bytes, those of the checksum field taken as blanks. */
function checksum(block: Buffer): number {
  const [start, size] = FIELD.checksum;
  let sum = size * 0x20;
  for (let i = 0; i < start; i++) sum += block[i]!;
  for (let i = start + size; i < TAR_BLOCK; i++) sum += block[i]!;
  return sum;
}

/** Only POSIX' magic word makes the last field a prefix; GNU keeps times and the sparse map there. */
function prefixOf(magic: Buffer, prefix: Buffer, starMagic: Buffer): Buffer {
  if (magic.toString('latin1') !== 'ustar\0') return prefix.subarray(0, 0);
  const isStar = starMagic.toString('latin1') === 'tar\0';
  return untilNul(isStar ? prefix.subarray(0, STAR_PREFIX_SIZE) : prefix);
}

/** A copy of the bytes in front of the first NUL. */
export function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end));
}
