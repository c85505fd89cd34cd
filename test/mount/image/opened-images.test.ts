import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ImageSource } from '../../../src/image/source.js';
import { openImageStore } from '../../../src/mount/image/image-store.js';
import { letGoOfTree, openNydusImage, treeOf } from '../../../src/mount/image/nydus-image.js';
import { OpenedImages } from '../../../src/mount/image/opened-images.js';
import { collectGarbage } from '../../../src/os/collect-garbage.js';
import { goldenLayout } from '../layouts.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-opened-'));
});
afterEach(() => rm(dir, { recursive: true }));

function setUp() {
  const store = openImageStore(join(dir, 'images'));
  const opened = new OpenedImages();
  const open = (reference = 'example.com/tiny:1', source: ImageSource = goldenLayout('tiny-nydus')) =>
    openNydusImage({ source, store, opened, reference, platform: 'linux/amd64' });
  return { open, opened, store };
}

describe('an image that was opened before', () => {
  it('is not decoded again', async () => {
    const { open } = setUp();
    const first = await open();
    const again = await open();
    expect(again.tree!.bootstrap).toBe(first.tree!.bootstrap);
    expect(again.blobs).toBe(first.blobs);
    expect(again.metadataBytes).toBe(0);
  });

  it('is read from the source again if what was kept of it is gone', async () => {
    const { open } = setUp();
    const first = await open();
    await rm(join(dir, 'images'), { recursive: true });
    const again = await open();
    expect(again.tree!.bootstrap).not.toBe(first.tree!.bootstrap);
    expect(again.metadataBytes).toBe(first.metadataBytes);
    // And is there to be mounted without the source.
    expect((await open()).metadataBytes).toBe(0);
  });

  it('is another one under another name, whose messages tell it', async () => {
    const { open } = setUp();
    const first = await open();
    expect((await open('example.com/other:1')).tree!.bootstrap).not.toBe(first.tree!.bootstrap);
  });

  it('is forgotten when some others were opened since, unless somebody holds it', async () => {
    const { open, opened, store } = setUp();
    const held = await open('example.com/held:1');
    for (let i = 0; i < 6; i++) await open(`example.com/other:${i}`);
    const key = (name: string) => `example.com/${name} ${held.manifest.digest}`;
    await vi.waitFor(() => {
      collectGarbage();
      expect(opened.find(key('other:0'))).toBeUndefined();
    }, 10_000);
    expect(opened.find(key('other:5'))).toBeDefined();
    expect(opened.find(key('held:1'))?.parts.tree.bootstrap).toBe(held.tree!.bootstrap);
    expect(await store.holds([held.manifest], [])).toBe(true);
  });

  it('lets go of the tree where a mount needs it no more, and still knows every digest', async () => {
    const { open, opened } = setUp();
    const image = await open('example.com/held:1');
    const digests = () =>
      image.blobs.flatMap(({ layout }) =>
        Array.from({ length: layout.chunkCount + 1 }, (_, i) => layout.chunkDigest(i)?.toString('hex')),
      );
    const before = digests();
    expect(before.filter(Boolean).length).toBeGreaterThan(2);
    const tree = new WeakRef(treeOf(image).bootstrap);
    letGoOfTree(image);
    expect(digests()).toEqual(before);
    expect(() => treeOf(image)).toThrow('let go');
    for (let i = 0; i < 6; i++) await open(`example.com/other:${i}`);
    await vi.waitFor(() => {
      collectGarbage();
      expect(tree.deref()).toBeUndefined();
    }, 10_000);
    expect(opened.find(`example.com/held:1 ${image.manifest.digest}`)).toBeUndefined();
    expect(digests()).toEqual(before);
  });
});
