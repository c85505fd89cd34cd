import { RafterError } from '../errors.js';
import { encodePaxRecord } from '../image/archive/pax.js';
import {
  encodeUstar,
  MAX_USTAR_ID,
  MAX_USTAR_NAME,
  MAX_USTAR_SIZE,
  TAR_BLOCK,
} from '../image/archive/ustar.js';
import type { Xattr } from '../rafs/tree.js';

/** Type flags (POSIX, ustar). */
const FLAGS = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', dir: '5', fifo: '6' } as const;
const PAX_FLAG = 'x';
/** Name of extended headers; readers that know PAX never show it. */
const PAX_NAME = Buffer.from('PaxHeaders/entry');
const EQUALS = 0x3d;

/** What a tar is to hold for one path. */
export interface TarItem {
  /** Relative, without a slash at the end; empty for the root. Any bytes but NUL. */
  path: Buffer;
  type: keyof typeof FLAGS;
  /** Permission, set-id and sticky bits. */
  mode: number;
  uid: number;
  gid: number;
  mtimeSec: number;
  mtimeNsec: number;
  /** Bytes of a file's content, which follow the header, filled up with `paddingOf`; else 0. */
  size: number;
  /** Target of a symlink, path of the entry that a hard link is to. */
  link?: Buffer | undefined;
  rdev?: { major: number; minor: number } | undefined;
  xattrs: Xattr[];
}

/**
 * The header of an entry: ustar, with an extended header of POSIX pax in front of it where ustar has no place for the name, the owner,
 * the size, the time or for xattrs (`SCHILY.xattr.*`, as Go and GNU tar write them). UNSUPPORTED for an xattr whose name pax
 * cannot hold; `name` says in errors whose entry it is.
 */
export function encodeTarItem(item: TarItem, name: string): Buffer {
  const records: Buffer[] = [];
  const number = (key: string, value: number, max: number): number => {
    if (value >= 0 && value <= max) return value;
    records.push(encodePaxRecord(key, Buffer.from(String(value))));
    return 0;
  };
  const text = (key: string, value: Buffer): Buffer => {
    if (value.length <= MAX_USTAR_NAME && isAscii(value)) return value;
    records.push(encodePaxRecord(key, value));
    return value.subarray(0, MAX_USTAR_NAME);
  };
  const header = encodeUstar({
    name: text('path', entryName(item)),
    flag: FLAGS[item.type],
    mode: item.mode & 0o7777,
    uid: number('uid', item.uid, MAX_USTAR_ID),
    gid: number('gid', item.gid, MAX_USTAR_ID),
    size: number('size', item.size, MAX_USTAR_SIZE),
    mtime: timeField(item, records),
    link: text('linkpath', item.link ?? Buffer.alloc(0)),
    rdev: item.rdev,
  });
  for (const xattr of item.xattrs) {
    if (xattr.name.includes(EQUALS)) {
      throw new RafterError('UNSUPPORTED', `${name}: a tar has no place for the xattr ${xattr.name}`);
    }
    records.push(encodePaxRecord(`SCHILY.xattr.${xattr.name.toString('latin1')}`, xattr.value));
  }
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const extended = encodeUstar({
    ...{ name: PAX_NAME, flag: PAX_FLAG, mode: 0o644, uid: 0, gid: 0, mtime: 0 },
    size: body.length,
  });
  return Buffer.concat([extended, body, paddingOf(body.length), header]);
}

/** The zeros behind `size` bytes of content. */
export function paddingOf(size: number): Buffer {
  return Buffer.alloc((TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK);
}

/** What ends a tar. */
export const TAR_END = Buffer.alloc(2 * TAR_BLOCK);

/** Go, and with it every container tool, tells directories by the slash. */
function entryName({ path, type }: TarItem): Buffer {
  if (path.length === 0) return Buffer.from('./');
  return type === 'dir' ? Buffer.concat([path, Buffer.from('/')]) : path;
}

/** Whole seconds from 1970 on go to the header, anything else to a record. */
function timeField({ mtimeSec, mtimeNsec }: TarItem, records: Buffer[]): number {
  const fits = mtimeSec >= 0 && mtimeSec <= MAX_USTAR_SIZE;
  if (!fits || mtimeNsec !== 0) {
    records.push(encodePaxRecord('mtime', Buffer.from(formatTime(mtimeSec, mtimeNsec))));
  }
  return fits ? mtimeSec : 0;
}

/** Seconds with sign and fraction: -2 s and 750000000 ns are `-1.25`. */
function formatTime(sec: number, nsec: number): string {
  if (nsec === 0) return String(sec);
  const [sign, whole, fraction] = sec < 0 ? ['-', -(sec + 1), 1e9 - nsec] : ['', sec, nsec];
  return `${sign}${whole}.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
}

function isAscii(bytes: Buffer): boolean {
  return bytes.every((byte) => byte < 0x80);
}
