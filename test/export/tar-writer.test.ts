import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { TarEntryHead } from '../../src/convert/tar-entry.js';
import { readTar } from '../../src/convert/tar-reader.js';
import { encodeTarItem, paddingOf, TAR_END, type TarItem } from '../../src/export/tar-writer.js';

const item = (more: Partial<TarItem>): TarItem => ({
  path: Buffer.from('f'),
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  size: 0,
  xattrs: [],
  ...more,
});
const tarOf = (items: TarItem[], content = Buffer.alloc(0)) =>
  Buffer.concat([
    ...items.flatMap((each) => [
      encodeTarItem(each, 'test'),
      content.subarray(0, each.size),
      paddingOf(each.size),
    ]),
    TAR_END,
  ]);

async function readBack(tar: Buffer): Promise<TarEntryHead[]> {
  async function* pieces() {
    yield tar;
  }
  const heads: TarEntryHead[] = [];
  for await (const { body, ...head } of readTar(pieces(), 'test')) {
    for await (const _ of body);
    heads.push(head as TarEntryHead);
  }
  return heads;
}

it.each<[string, Partial<TarItem>]>([
  ['a plain file', { mode: 0o7755, uid: 1000, gid: 2000, mtimeSec: 1_700_000_000 }],
  ['owners beyond octal', { uid: 0o7777777 + 1, gid: 0xfffffffe }],
  ['owners at the end of octal', { uid: 0o7777777, gid: 0o7777777 }],
  ['a name of 100 bytes', { path: Buffer.alloc(100, 'n') }],
  ['a name of 101 bytes', { path: Buffer.alloc(101, 'n') }],
  ['a long path', { path: Buffer.from('d/'.repeat(2000)).subarray(0, -1) }],
  ['a name that is not UTF-8', { path: Buffer.from([0x66, 0xff, 0xfe, 0x0a, 0x3d]) }],
  ['a name in UTF-8', { path: Buffer.from('dateï') }],
  ['nanoseconds', { mtimeSec: 5, mtimeNsec: 1 }],
  ['a tenth', { mtimeSec: 5, mtimeNsec: 100_000_000 }],
  ['a second before 1970', { mtimeSec: -1 }],
  ['a fraction before 1970', { mtimeSec: -2, mtimeNsec: 750_000_000 }],
  ['a far time', { mtimeSec: 2 ** 34 }],
  ['a symlink', { type: 'symlink', link: Buffer.from('../x') }],
  ['a symlink far away', { type: 'symlink', link: Buffer.alloc(4000, 'l/') }],
  ['a hard link', { type: 'hardlink', link: Buffer.from([0xff]) }],
  ['a device', { type: 'char', rdev: { major: 4095, minor: 1048575 } }],
  ['another device', { type: 'block', rdev: { major: 8, minor: 1 } }],
  ['a fifo', { type: 'fifo' }],
  [
    'xattrs',
    {
      xattrs: [
        { name: Buffer.from('security.capability'), value: Buffer.from([1, 0, 0, 2, 10, 0xff, 0x3d]) },
        { name: Buffer.from('user.empty'), value: Buffer.alloc(0) },
        { name: Buffer.from('user.long'), value: Buffer.alloc(65_000, 'v') },
        { name: Buffer.from([0x75, 0x73, 0x65, 0x72, 0x2e, 0xfe]), value: Buffer.from('odd') },
      ],
    },
  ],
])('%s is read back', async (_, more) => {
  const wanted = item(more);
  const [head, ...others] = await readBack(tarOf([wanted, item({})]));
  expect(others).toHaveLength(1);
  const { path, type, mode, uid, gid, mtimeSec, mtimeNsec, link, rdev, xattrs } = wanted;
  expect(head).toMatchObject({ path, type, mode, uid, gid, mtimeSec, mtimeNsec });
  expect(head!.linkTarget).toEqual(link ?? Buffer.alloc(0));
  expect(head!.rdev).toEqual(rdev ?? { major: 0, minor: 0 });
  expect(head!.xattrs).toEqual(xattrs);
});

it('the record that says its own length gets it right where a digit is added', async () => {
  for (let length = 85; length < 105; length++) {
    const xattrs = [{ name: Buffer.from('user.x'), value: Buffer.alloc(length, 'v') }];
    const [head] = await readBack(tarOf([item({ xattrs })]));
    expect(head!.xattrs).toEqual(xattrs);
  }
});

it('the size of a file of more than 8 GiB is a record', async () => {
  const size = 2 ** 33;
  const header = encodeTarItem(item({ size }), 'test');
  expect(header.toString('latin1')).toContain(` size=${size}\n`);
  expect(encodeTarItem(item({ size: size - 1 }), 'test')).toHaveLength(512);
});

it('the root and directories end with a slash, as Go wants them', async () => {
  const heads = await readBack(
    tarOf([item({ path: Buffer.alloc(0), type: 'dir' }), item({ path: Buffer.from('d'), type: 'dir' })]),
  );
  expect(heads.map(({ path, type }) => [path.toString(), type])).toEqual([
    ['./', 'dir'],
    ['d/', 'dir'],
  ]);
});

it('an xattr that would be read as another one is refused', () => {
  const xattrs = [{ name: Buffer.from('user.a=b'), value: Buffer.from('c') }];
  expect(() => encodeTarItem(item({ xattrs }), 'image: "/f"')).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('"/f"') }),
  );
});

it('tar(1) lists and extracts it', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-export-'));
  try {
    const content = Buffer.from('hello');
    const long = 'x'.repeat(120);
    const tar = tarOf([item({ path: Buffer.from(long), size: 5, mtimeNsec: 5 }), item({})], content);
    writeFileSync(join(dir, 'a.tar'), tar);
    const listed = execFileSync('tar', ['-tf', join(dir, 'a.tar')], { encoding: 'utf8' });
    expect(listed).toBe(`${long}\nf\n`);
    expect(execFileSync('tar', ['-xOf', join(dir, 'a.tar'), long], { encoding: 'utf8' })).toBe('hello');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
