import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { createContentReader } from '../../src/inspect/content.js';
import { findPath } from '../../src/inspect/find-path.js';
import { type OpenImage, openImage } from '../../src/inspect/open-image.js';
import { walk } from '../../src/rafs/walk.js';
import { goldenLayout, writeGoldenLayout } from '../mount/layouts.js';
import { goldenTree } from '../rafs/golden.js';
import { watchSource } from './watched-source.js';

let dir: string;
let full: LayoutSource;
let fullBlobs: string[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-inspect-'));
  fullBlobs = await writeGoldenLayout('full', join(dir, 'full'));
  full = new LayoutSource({ transport: 'oci', path: join(dir, 'full'), tag: 'latest' });
});
afterAll(() => rm(dir, { recursive: true }));

const platform = 'linux/amd64';

async function hashes(image: OpenImage, everything: boolean): Promise<Map<string, string>> {
  const content = createContentReader(image, { everything });
  const found = new Map<string, string>();
  for (const { path, inode } of walk(image.bootstrap)) {
    if (inode.type !== 'file') continue;
    const hash = createHash('sha256');
    for await (const bytes of content.read(inode)) hash.update(bytes);
    found.set(path.toString('latin1'), hash.digest('hex'));
  }
  return found;
}

const expected = (name: string) =>
  new Map(
    goldenTree(name)
      .filter(({ type }) => type === 'file')
      .map(({ path, path64, sha256 }) => [
        Buffer.from(path ?? path64!, path === undefined ? 'base64' : 'utf8').toString('latin1'),
        sha256!,
      ]),
  );

describe('reading without a mount', () => {
  it.each([false, true])('gives every byte of every file (everything: %s)', async (everything) => {
    expect(await hashes(await openImage(full, { platform }), everything)).toEqual(expected('full'));
  });

  it.each(['tiny-nydus', 'tiny-batch'])('reads what nydusify wrote: %s', async (name) => {
    const found = await hashes(await openImage(goldenLayout(name), { platform }), false);
    expect([...found.keys()]).toEqual(['/bin/hello', '/etc/conf', '/etc/empty', '/etc/noise']);
    for (const path of ['/bin/hello', '/etc/conf']) expect(found.get(path)).toBe(expected('tiny').get(path));
  });

  it('asks for no data until a file is read, then for its chunks only', async () => {
    const { source, asked } = watchSource(goldenLayout('tiny-nydus'));
    const image = await openImage(source, { platform });
    expect(asked).toEqual(['resolve', 'manifest', 'blob', 'blob']);
    asked.length = 0;
    const file = [...walk(image.bootstrap)].find(({ inode }) => inode.chunkCount === 1)!.inode;
    for await (const bytes of createContentReader(image).read(file)) expect(bytes.length).toBe(file.size);
    expect(asked).toEqual([expect.stringMatching(/^range /)]);
    expect(Number(asked[0]!.slice('range '.length))).toBeLessThanOrEqual(file.size);
  });

  it('needs far fewer requests when everything is wanted', async () => {
    const counts = await Promise.all(
      [false, true].map(async (everything) => {
        const { source, asked } = watchSource(full);
        await hashes(await openImage(source, { platform }), everything);
        return asked.length;
      }),
    );
    expect(counts[1]!).toBeLessThan(counts[0]! / 2);
  });

  it('does not give bytes that are not those of the digest', async () => {
    const path = fullBlobs[0]!;
    const bytes = await readFile(path);
    try {
      await writeFile(path, Buffer.concat([Buffer.from(bytes.subarray(0, 40)).fill(7), bytes.subarray(40)]));
      await expect(hashes(await openImage(full, { platform }), false)).rejects.toMatchObject({
        code: 'DIGEST_MISMATCH',
        message: expect.stringMatching(/^blob .*: chunk \d+ .* is damaged/),
      });
    } finally {
      await writeFile(path, bytes);
    }
  });

  it('says of an ordinary image that it is none of ours', async () => {
    await expect(openImage(goldenLayout('tiny-src'), { platform })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('rafter convert'),
    });
  });
});

describe('finding a path', () => {
  const find = async (path: string, follow = true) => {
    const { bootstrap } = await openImage(full, { platform });
    return findPath(bootstrap, Buffer.from(path), { follow, name: 'image' });
  };
  const links = () => goldenTree('full').filter(({ type, path }) => type === 'symlink' && path !== undefined);

  it('finds every name, without and with dots and slashes', async () => {
    const { bootstrap } = await openImage(full, { platform });
    for (const { path, inode } of walk(bootstrap)) {
      const plain = findPath(bootstrap, path, { follow: false, name: 'image' });
      expect(plain.inode.nid).toBe(inode.nid);
      const odd = Buffer.concat([Buffer.from('/.././/'), path]);
      expect(findPath(bootstrap, odd, { follow: false, name: 'image' }).inode.nid).toBe(inode.nid);
    }
  });

  it('follows a symlink at the end only when asked to', async () => {
    expect(links().length).toBeGreaterThan(0);
    for (const { path } of links()) expect((await find(path!, false)).inode.type).toBe('symlink');
  });

  it('follows symlinks at the end and on the way inside the image', async () => {
    expect((await find('/links/short')).path.toString()).toBe('/links/target');
    expect((await find('/ov/dir-to-symlink/')).path.toString()).toBe('/ov/merged');
    expect((await find('/ov/dir-to-symlink/../../links/short')).path.toString()).toBe('/links/target');
    await expect(find('/links/dangling')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it.each([
    ['/nonesuch', 'NOT_FOUND', /no such file/],
    ['/nonesuch/../', 'NOT_FOUND', /no such file/],
  ])('refuses %s', async (path, code, message) => {
    await expect(find(path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('refuses a path through a file', async () => {
    const file = goldenTree('full').find(({ type, path }) => type === 'file' && path !== undefined)!;
    await expect(find(`${file.path}/x`)).rejects.toMatchObject({ code: 'FAILED' });
  });
});
