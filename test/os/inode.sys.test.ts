import { closeSync, lstatSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeNode, setTime, setXattr, syncFileSystem } from '../../src/os/inode.js';
import { readTree } from '../support/tree.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-inode-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const path = (name: string) => Buffer.from(join(dir, name));
const time = (name: string) => lstatSync(path(name), { bigint: true }).mtimeNs;

it('sets times to the nanosecond, before 1970 too, and those of a symlink itself', () => {
  writeFileSync(path('file'), '');
  symlinkSync('file', path('link'));
  setTime(path('file'), { seconds: 1_700_000_000, nanoseconds: 123_456_789 });
  setTime(path('link'), { seconds: -5, nanoseconds: 1 });
  expect(time('file')).toBe(1_700_000_000_123_456_789n);
  expect(time('link')).toBe(-4_999_999_999n);
  expect(() => setTime(path('nonesuch'), { seconds: 0, nanoseconds: 0 })).toThrow(/ENOENT/);
});

it.skipIf(process.getuid?.() !== 0)(
  'makes devices with large numbers, fifos and binary attributes',
  async () => {
    makeNode(path('device'), 0o060600, { major: 0xabc, minor: 0xfedcb });
    const { rdev } = lstatSync(path('device'));
    expect([(rdev >>> 8) & 0xfff, (rdev & 0xff) + ((rdev / 4096) & 0xfff00)]).toEqual([0xabc, 0xfedcb]);
    makeNode(path('fifo'), 0o010644, { major: 0, minor: 0 });
    expect(lstatSync(path('fifo')).isFIFO()).toBe(true);
    expect(() => makeNode(path('fifo'), 0o010644, { major: 0, minor: 0 })).toThrow(/EEXIST/);
    writeFileSync(path('attributes'), '');
    setXattr(path('attributes'), Buffer.from('trusted.test'), Buffer.from([0, 255, 0]));
    setXattr(path('attributes'), Buffer.from('trusted.empty'), Buffer.alloc(0));
    expect((await readTree(dir)).get('/attributes')!.xattrs).toBe('trusted.empty= trusted.test=00ff00');
    expect(() => setXattr(path('attributes'), Buffer.from('nonesuch.x'), Buffer.alloc(1))).toThrow(
      /EOPNOTSUPP/,
    );
  },
);

it('waits for the disk', () => {
  const fd = openSync(dir, 'r');
  try {
    expect(() => syncFileSystem(fd)).not.toThrow();
  } finally {
    closeSync(fd);
  }
  expect(() => syncFileSystem(-1)).toThrow(/EBADF/);
});
