import { RafterError } from '../errors.js';
import { lastValues, xattrsOf } from '../image/archive/pax.js';
import { parsePaxNumber, parsePaxTime } from '../image/archive/tar-numbers.js';
import {
  MAX_FILE_SIZE,
  MAX_OWNER_ID,
  MAX_PATH_SIZE,
  showPath,
  type TarEntryHead,
  type TarEntryType,
} from './tar-entry.js';
import type { RawTarEntry } from './tar-headers.js';
import { parseGnuSparse, parsePaxSparse, type SparseFile } from './tar-sparse.js';

/** One entry as its headers say it. */
export interface DecodedEntry {
  head: TarEntryHead;
  /** Bytes of content in the tar; differs from `head.size` for sparse files. */
  packedSize: number;
  sparse: SparseFile | undefined;
  /** No part of the file system: GNU tar's volume label. */
  isLabel: boolean;
  /** Names layer and entry, for messages. */
  what: string;
}

const TYPES: Record<string, TarEntryType> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
};
const PERMISSIONS = 0o7777;
const SLASH = 0x2f;

/**
 * Puts together what header block, GNU long names and PAX records say of an entry. PAX wins over the header block, a GNU
 * long name over PAX, as in Go's archive/tar. MALFORMED and LIMIT_EXCEEDED name layer, entry and field.
 */
export function decodeEntry(raw: RawTarEntry, layer: string): DecodedEntry {
  const { header } = raw;
  const values = lastValues(raw.pax);
  const name = raw.longName ?? values.get('path') ?? header.path;
  const what = `${layer}: entry ${showPath(name)}`;
  const type = header.type === '\0' && name.at(-1) === SLASH ? 'dir' : (TYPES[header.type] ?? 'file');
  const isLabel = header.type === 'V';
  const isFile = type === 'file' && !isLabel;
  const packedSize = isFile ? numberOf('size') : 0;
  const sparse = isFile ? sparseOf() : undefined;
  const size = sparse?.realSize ?? packedSize;
  if (size > MAX_FILE_SIZE) {
    throw new RafterError('LIMIT_EXCEEDED', `${what}: ${size} bytes, more than ${MAX_FILE_SIZE}`);
  }

  function numberOf(field: 'size' | 'uid' | 'gid'): number {
    const value = values.get(field);
    const number = value ? parsePaxNumber(value, `${what}: ${field}`) : header.number(field, what);
    if (number < 0) throw new RafterError('MALFORMED', `${what}: negative ${field}`);
    return number;
  }

  function ownerOf(field: 'uid' | 'gid'): number {
    const number = numberOf(field);
    if (number <= MAX_OWNER_ID) return number;
    throw new RafterError('UNSUPPORTED', `${what}: ${field} ${number} is more than ${MAX_OWNER_ID}`);
  }

  function sparseOf(): SparseFile | undefined {
    if (header.type === 'S') return parseGnuSparse(raw.block, raw.sparseBlocks, what);
    return parsePaxSparse(raw.pax, values, what);
  }

  const time = values.get('mtime');
  const mtime = time ? parsePaxTime(time, `${what}: mtime`) : { sec: header.number('mtime', what), nsec: 0 };
  const isLink = type === 'symlink' || type === 'hardlink';
  const isDevice = type === 'char' || type === 'block';
  return {
    head: {
      path: checkName(sparse?.name ?? name, 'name', what),
      type,
      mode: header.number('mode', what) & PERMISSIONS,
      uid: ownerOf('uid'),
      gid: ownerOf('gid'),
      mtimeSec: mtime.sec,
      mtimeNsec: mtime.nsec,
      linkTarget: isLink
        ? checkName(raw.longLink ?? values.get('linkpath') ?? header.linkName, 'link target', what)
        : Buffer.alloc(0),
      rdev: isDevice
        ? { major: header.number('major', what), minor: header.number('minor', what) }
        : { major: 0, minor: 0 },
      xattrs: xattrsOf(values),
      size,
    },
    packedSize,
    sparse,
    isLabel,
    what,
  };
}

/** A copy of a name, so that it does not keep a stream buffer alive. */
function checkName(name: Buffer, field: string, what: string): Buffer {
  if (name.includes(0)) throw new RafterError('MALFORMED', `${what}: a NUL byte in its ${field}`);
  if (name.length > MAX_PATH_SIZE) {
    throw new RafterError('LIMIT_EXCEEDED', `${what}: its ${field} has more than ${MAX_PATH_SIZE} bytes`);
  }
  return Buffer.from(name);
}
