import { RafterError } from '../../errors.js';
import type { Xattr } from '../../rafs/tree.js';

/**
 * One record of a PAX extended header. Keys are kept as latin1 text (one character per byte) and values as bytes, because
 * both may be anything: `SCHILY.xattr.*` values are binary.
 */
export type PaxRecord = readonly [key: string, value: Buffer];

const XATTR_PREFIX = 'SCHILY.xattr.';
const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/** One record as it stands in an extended header: `LENGTH KEY=VALUE\n`, where LENGTH counts itself. The key is latin1. */
export function encodePaxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), value, Buffer.from('\n')]);
  let digits = 1;
  while (String(rest.length + digits).length > digits) digits++;
  return Buffer.concat([Buffer.from(String(rest.length + digits)), rest]);
}

/** Reads `LENGTH KEY=VALUE\n` records (POSIX pax, extended header), in order. MALFORMED with the record's offset. */
export function parsePaxRecords(bytes: Buffer, what: string): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let start = 0; start < bytes.length; ) {
    const space = bytes.indexOf(SPACE, start);
    const digits = bytes.toString('latin1', start, space < 0 ? start : Math.min(space, start + 9));
    const end = /^\d{1,8}$/.test(digits) ? start + Number(digits) : 0;
    const equals = bytes.indexOf(EQUALS, space + 1);
    if (end <= space || end > bytes.length || bytes[end - 1] !== NEWLINE || equals < 0 || equals >= end) {
      throw new RafterError(
        'MALFORMED',
        `${what}: no valid PAX record at byte ${start} of its extended header`,
      );
    }
    records.push([bytes.toString('latin1', space + 1, equals), bytes.subarray(equals + 1, end - 1)]);
    start = end;
  }
  return records;
}

/** The last value for each key. An empty value takes back an earlier one (POSIX), except that an xattr may be empty. */
export function lastValues(records: Iterable<PaxRecord>): Map<string, Buffer> {
  const values = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (value.length === 0 && !key.startsWith(XATTR_PREFIX)) values.delete(key);
    else values.set(key, value);
  }
  return values;
}

/**
 * What global headers (type `g`) say of every later entry, after `added` came behind `earlier`: owner, time and xattrs. A
 * name, size or link target shared by all entries makes no sense and is left out, as is what an image does not hold.
 */
export function mergeGlobalRecords(earlier: PaxRecord[], added: PaxRecord[]): PaxRecord[] {
  const kept = added.filter(
    ([key]) => key === 'uid' || key === 'gid' || key === 'mtime' || key.startsWith(XATTR_PREFIX),
  );
  return [...lastValues([...earlier, ...kept])];
}

/** The extended attributes among PAX values. */
export function xattrsOf(values: Map<string, Buffer>): Xattr[] {
  const xattrs: Xattr[] = [];
  for (const [key, value] of values) {
    if (!key.startsWith(XATTR_PREFIX)) continue;
    // A copy: the record is a slice of the tar's stream buffer, which would be kept alive with it.
    xattrs.push({ name: Buffer.from(key.slice(XATTR_PREFIX.length), 'latin1'), value: Buffer.from(value) });
  }
  return xattrs;
}
