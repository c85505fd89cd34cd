import { describe, expect, it } from 'vitest';
import type { FileSystem } from '../../../src/fuse/file-system.js';
import { PathResolver } from '../../../src/fuse/path-resolver.js';
import { type BlobReader, createImageView } from '../../../src/mount/drivers/image-view.js';
import { goldenTree, type TreeRow } from '../../rafs/golden.js';
import { decodedBlob, goldenBootstrap } from '../golden.js';
import { numberGroups, walk } from '../walk.js';

function open(name: string) {
  const bootstrap = goldenBootstrap(name);
  const blobs = bootstrap.blobs.map(decodedBlob);
  return { bootstrap, blobs, fs: createImageView({ bootstrap, blobs }) };
}
const find = (fs: FileSystem, path: string) => new PathResolver(fs).resolve(Buffer.from(path));
const path = (row: TreeRow) => row.path ?? row.path64;

describe('a view of an image', () => {
  it.each([
    ['full', 'full'],
    ['small', 'small'],
    ['small-batch', 'small'],
    ['small-lz4', 'small'],
    ['small-64k', 'small'],
    ['twin-dict', 'twin'],
    ['tiny-none', 'tiny'],
    ['tiny-sha256', 'tiny'],
    ['tiny-prefetch', 'tiny'],
  ])('shows every path of %s with all its attributes and bytes', async (image, tree) => {
    const rows = await walk(open(image).fs);
    const expected = numberGroups(goldenTree(tree));
    expect(rows.map(path)).toEqual(expected.map(path));
    for (const [index, row] of expected.entries()) {
      const { hardlinkGroup: wanted, ...fields } = row;
      const { hardlinkGroup: got, ...actual } = rows[index]!;
      expect(actual).toEqual(fields);
      // The tree of full.json numbers groups in the order of its walk, not of its paths.
      expect(got === undefined).toBe(wanted === undefined);
    }
  });

  it('groups hard links as the golden tree does', async () => {
    const groupsOf = (rows: TreeRow[]) => {
      const groups = new Map<number, string[]>();
      for (const row of rows)
        if (row.hardlinkGroup)
          groups.set(row.hardlinkGroup, [...(groups.get(row.hardlinkGroup) ?? []), path(row)!]);
      return [...groups.values()].map((members) => members.join()).sort();
    };
    const groups = groupsOf(await walk(open('full').fs));
    expect(groups).toEqual(groupsOf(goldenTree('full')));
    expect(groups.length).toBe(2);
  });

  it('reads the same bytes in pieces of any size, across chunk borders', async () => {
    const { fs } = open('small-64k');
    const expected = goldenTree('small').filter(({ sha256 }) => sha256);
    const rows = (await walk(fs, 4099)).filter(({ sha256 }) => sha256);
    expect(rows.map(({ sha256 }) => sha256)).toEqual(expected.map(({ sha256 }) => sha256));
  });

  it('stops at the end of the file and reads nothing behind it', async () => {
    const { fs, bootstrap, blobs } = open('full');
    const row = goldenTree('full').find(({ type, size }) => type === 'file' && size === 4097)!;
    const node = find(fs, row.path!);
    const target = Buffer.alloc(100, 0xee);
    expect(await fs.read(node, 4090, target)).toBe(7);
    expect(target.subarray(7).every((byte) => byte === 0xee)).toBe(true);
    expect(await fs.read(node, 4097, target)).toBe(0);
    expect(await fs.read(node, 2 ** 40, target)).toBe(0);
    expect(blobs.flatMap(({ reads }) => reads).length).toBe(1);
    const empty = goldenTree('full').find(({ type, size }) => type === 'file' && size === 0)!;
    expect(await fs.read(find(fs, empty.path!), 0, target)).toBe(0);
    expect(bootstrap.inode(node).size).toBe(4097);
  });

  it('asks for chunks that follow each other in one read of the blob', async () => {
    const { fs, blobs } = open('full');
    const row = goldenTree('full').find(({ type, size }) => type === 'file' && size === 1_048_577)!;
    await fs.read(find(fs, row.path!), 1_048_000, Buffer.alloc(1000));
    const reads = blobs.flatMap(({ reads }) => reads);
    expect(reads.reduce((sum, [, length]) => sum + length, 0)).toBe(577);
    expect(reads.length).toBe(1);
  });

  it('answers what is asked of the wrong type with the errno of POSIX', async () => {
    const { fs } = open('tiny-none');
    const file = find(fs, goldenTree('tiny').find(({ type }) => type === 'file')!.path!);
    const code = (errno: string) => expect.objectContaining({ errno });
    expect(() => fs.lookup(file, Buffer.from('x'))).toThrowError(code('ENOTDIR'));
    expect(() => [...fs.readdir(file)]).toThrowError(code('ENOTDIR'));
    expect(() => fs.lookup(fs.root, Buffer.from('no such name'))).toThrowError(code('ENOENT'));
    expect(() => fs.readlink(fs.root)).toThrowError(code('EINVAL'));
    expect(() => fs.getxattr(file, Buffer.from('user.none'))).toThrowError(code('ENODATA'));
    await expect(fs.read(fs.root, 0, Buffer.alloc(1))).rejects.toMatchObject({ errno: 'EISDIR' });
  });

  it('lists . and .. of a directory once each', () => {
    const { fs } = open('tiny-none');
    const names = [...fs.readdir(fs.root)].map(({ name }) => name.toString());
    expect(names.filter((name) => name === '.' || name === '..').sort()).toEqual(['.', '..']);
  });

  it('counts files and blocks for statfs', () => {
    const stats = open('full').fs.statfs(1);
    expect(stats).toMatchObject({ blockSize: 4096, nameMax: 255 });
    expect(stats.files).toBeGreaterThan(600);
    expect(stats.blocks).toBeGreaterThan(1000);
  });
});

describe('a blob that cannot be read', () => {
  function failing(read: BlobReader['read'], readTimeout?: number) {
    const bootstrap = goldenBootstrap('tiny-none');
    const fs = createImageView({
      bootstrap,
      blobs: bootstrap.blobs.map(() => ({ read })),
      readTimeout,
    });
    const row = goldenTree('tiny').find(({ type, size }) => type === 'file' && size! > 0)!;
    return { bootstrap, fs, node: find(fs, row.path!) };
  }

  it('is EIO with blob, chunk and cause', async () => {
    const { fs, node, bootstrap } = failing(async () => {
      throw new Error('digest is another');
    });
    await expect(fs.read(node, 0, Buffer.alloc(10))).rejects.toMatchObject({
      errno: 'EIO',
      message: expect.stringMatching(new RegExp(`${bootstrap.blobs[0]!.id}, chunk \\d+: digest is another`)),
    });
  });

  it('is EIO after the deadline, when the blob has let go of the read', async () => {
    const read: BlobReader['read'] = (_offset, _target, signal) =>
      new Promise((_, reject) => signal!.addEventListener('abort', () => reject(new Error('aborted'))));
    const { fs, node } = failing(read, 0.03);
    await expect(fs.read(node, 0, Buffer.alloc(10))).rejects.toThrow(/no answer within 0.03 s/);
  });

  it('is EIO when the image names a blob that it does not have', async () => {
    const bootstrap = goldenBootstrap('tiny-none');
    const fs = createImageView({ bootstrap, blobs: [] });
    const row = goldenTree('tiny').find(({ type, size }) => type === 'file' && size! > 0)!;
    await expect(fs.read(find(fs, row.path!), 0, Buffer.alloc(1))).rejects.toMatchObject({ errno: 'EIO' });
  });
});
