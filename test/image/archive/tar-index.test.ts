import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { indexTar, MAX_EXTENSION_SIZE, type TarIndex } from '../../../src/image/archive/tar-index.js';
import { encodeUstar } from '../../../src/image/archive/ustar.js';
import { readExactly } from '../../../src/image/file-range.js';
import { makeTar, paxRecord, type TarItem } from '../../convert/tar-writer.js';

let directory: string;
let handle: FileHandle | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-tar-index-'));
});
afterEach(async () => {
  await handle?.close();
  handle = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const at = (name: string) => join(directory, name);

async function indexFile(path: string): Promise<TarIndex> {
  handle = await open(path, 'r');
  return indexTar(handle, { size: (await handle.stat()).size, name: path });
}

function indexBytes(bytes: Buffer): Promise<TarIndex> {
  writeFileSync(at('x.tar'), bytes);
  return indexFile(at('x.tar'));
}

async function contentOf(index: TarIndex, name: string): Promise<string | undefined> {
  const range = index.find(name);
  return range && (await readExactly(handle!, range, name)).toString();
}

const file = (name: string, data: string): TarItem => ({ name, data });

describe('tars of tar(1)', () => {
  const long = `${'long/'.repeat(30)}${'n'.repeat(120)}`;
  beforeEach(() => {
    mkdirSync(join(at('in'), long, '..'), { recursive: true });
    writeFileSync(at('in/short'), 'short one');
    writeFileSync(join(at('in'), long), 'long one');
    symlinkSync(`../in/${long}`, at('in/symlink'));
    execFileSync('ln', [at('in/short'), at('in/zz-hard')]);
  });

  it.each(['gnu', 'pax', 'posix', 'oldgnu'])('of format %s: long names, links', async (format) => {
    execFileSync('tar', ['-C', directory, `--format=${format}`, '-cf', at('x.tar'), 'in']);
    const index = await indexFile(at('x.tar'));
    expect(await contentOf(index, 'in/short')).toBe('short one');
    expect(await contentOf(index, './in//zz-hard')).toBe('short one');
    expect(await contentOf(index, `/in/${long}`)).toBe('long one');
    expect(await contentOf(index, 'in/symlink')).toBe('long one');
    expect(index.find('in')).toBeUndefined();
    expect(index.find('in/none')).toBeUndefined();
  });

  it.each(['ustar', 'v7'])('of format %s', async (format) => {
    execFileSync('tar', ['-C', directory, `--format=${format}`, '-cf', at('x.tar'), 'in/short']);
    expect(await contentOf(await indexFile(at('x.tar')), 'in/short')).toBe('short one');
  });

  it.each(['gnu', 'pax'])('with a sparse file, %s: refused when it is asked for', async (format) => {
    truncateSync(at('in/short'), 10_000_000);
    execFileSync('tar', [
      '-C',
      directory,
      '-S',
      `--format=${format}`,
      '-cf',
      at('x.tar'),
      'in/short',
      `in/${long}`,
    ]);
    const index = await indexFile(at('x.tar'));
    const name = index.names().find((each) => each.includes('short'))!;
    expect(() => index.find(name)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    expect(await contentOf(index, `in/${long}`)).toBe('long one');
  });
});

it('takes the last of several entries with one name, and no link that leads in a circle', async () => {
  const index = await indexBytes(
    makeTar([
      file('a', 'first'),
      file('../a', 'second'),
      { name: 'round', type: '2', link: 'about' },
      { name: 'about', type: '2', link: 'round' },
      { name: 'out', type: '2', link: '../../../../a' },
      { name: 'dir/', type: '5' },
      { name: 'fifo', type: '6' },
    ]),
  );
  expect(await contentOf(index, 'a')).toBe('second');
  expect(index.find('round')).toBeUndefined();
  expect(await contentOf(index, 'out')).toBe('second');
  expect(index.names()).toEqual(['a', 'round', 'about', 'out']);
});

it('knows a file of more than 8 GiB, as it is written here and by tar(1)', async () => {
  const size = 9 * 2 ** 30 + 5;
  const header = encodeUstar({
    ...{ name: Buffer.from('big'), flag: '0', mode: 0o644, uid: 0, gid: 0, mtime: 0 },
    size,
  });
  writeFileSync(at('x.tar'), header);
  truncateSync(at('x.tar'), 512 + Math.ceil(size / 512) * 512 + 1024);
  expect((await indexFile(at('x.tar'))).find('big')).toEqual({ offset: 512, size });
  expect(execFileSync('tar', ['-tvf', at('x.tar')], { encoding: 'utf8' })).toContain(` ${size} `);
});

it.each([
  ['inside a header', 700, 'offset 512'],
  ['inside a file', 1600, 'offset 1024'],
])('a tar that ends %s is TRUNCATED', async (_, size, where) => {
  const tar = makeTar([file('empty', ''), file('also empty', ''), file('a', 'x'.repeat(2000))]);
  await expect(indexBytes(tar.subarray(0, size))).rejects.toMatchObject({
    code: 'TRUNCATED',
    message: expect.stringContaining(where),
  });
});

it('a tar that stops between two entries is taken', async () => {
  const tar = makeTar([file('a', 'one'), file('b', 'two')]);
  expect((await indexBytes(tar.subarray(0, 1024))).names()).toEqual(['a']);
});

it('takes as many entries as the limit, extended headers counted, and no more', async () => {
  const path = at('x.tar');
  writeFileSync(path, makeTar([file('a', ''), file('n'.repeat(120), 'x'), file('b', '')]));
  handle = await open(path, 'r');
  const { size } = await handle.stat();
  const index = (maxEntries: number) => indexTar(handle!, { size, name: path, maxEntries });
  expect((await index(4)).names()).toHaveLength(3);
  await expect(index(3)).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringContaining(path),
  });
});

it('takes an extended header of MAX_EXTENSION_SIZE bytes and no larger one', async () => {
  const withComment = (size: number) => {
    const digits = String(size).length;
    const value = 'c'.repeat(size - digits - ' comment='.length - 1);
    const record = paxRecord('comment', value);
    expect(record.length).toBe(size);
    return makeTar([{ ...file('x', ''), type: 'x', data: record }, file('a', 'content')]);
  };
  expect(await contentOf(await indexBytes(withComment(MAX_EXTENSION_SIZE)), 'a')).toBe('content');
  await handle?.close();
  await expect(indexBytes(withComment(MAX_EXTENSION_SIZE + 1))).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
  });
});
