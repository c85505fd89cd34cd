import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RafterError } from '../../../src/errors.js';
import { hexOf } from '../../../src/image/descriptor.js';
import { LayoutSource } from '../../../src/image/layout/layout-source.js';
import type { ImageSource } from '../../../src/image/source.js';
import { type ImageStore, openImageStore } from '../../../src/mount/image/image-store.js';
import { type OpenOptions, openNydusImage } from '../../../src/mount/image/nydus-image.js';
import { goldenLayout, writeGoldenLayout, writeReferenceLayout } from '../layouts.js';

let dir: string;
let store: ImageStore;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-image-'));
  store = openImageStore(join(dir, 'images'));
});
afterEach(() => rm(dir, { recursive: true }));

/** A source that notes what is asked of it; `down` makes it fail as a registry that does not answer. */
function watched(source: ImageSource) {
  const asked: string[] = [];
  const state: { failure?: Error } = {};
  const note = (what: string) => {
    asked.push(what);
    if (state.failure) throw state.failure;
  };
  const wrapped: ImageSource = {
    name: source.name,
    resolve: async (signal) => {
      note('resolve');
      return source.resolve(signal);
    },
    readManifest: async (descriptor, signal) => {
      note('manifest');
      return source.readManifest(descriptor, signal);
    },
    openBlob: async (descriptor, signal) => {
      note('blob');
      return source.openBlob(descriptor, signal);
    },
    readBlobRange: async (descriptor, offset, length, signal) => {
      note(`range ${length}`);
      return source.readBlobRange(descriptor, offset, length, signal);
    },
    close: () => source.close(),
  };
  return { source: wrapped, asked, state };
}

const open = (source: ImageSource, options: Partial<OpenOptions> = {}) =>
  openNydusImage({ source, store, reference: 'example.com/tiny:1', platform: 'linux/amd64', ...options });

describe('opening an image', () => {
  it('takes manifest, configuration and bootstrap, and no data', async () => {
    const { source, asked } = watched(goldenLayout('tiny-nydus'));
    const image = await open(source);
    expect(asked.toSorted()).toEqual(['blob', 'blob', 'manifest', 'resolve']);
    expect(image.manifest.digest).toMatch(/^sha256:/);
    expect(image.blobs.map(({ descriptor }) => descriptor.digest)).toEqual(
      image.tree!.bootstrap.blobs.map(({ id }) => `sha256:${id}`),
    );
    expect(image.blobs.every(({ layout }) => layout.chunkCount > 0)).toBe(true);
    expect(image.config.config.Cmd).toBeDefined();
    expect(image.metadataBytes).toBeLessThan(image.imageSize);
    expect(image.warnings).toEqual([]);
  });

  it('counts the layers that it refers to, and needs nothing of them', async () => {
    const { source, asked } = watched(writeReferenceLayout(join(dir, 'reference')));
    const image = await open(source);
    expect(asked.toSorted()).toEqual(['blob', 'blob', 'manifest', 'resolve']);
    const referred = image.tree!.bootstrap.blobs.reduce((sum, { compressedSize }) => sum + compressedSize, 0);
    expect(referred).toBeGreaterThan(0);
    expect(image.blobs.map(({ descriptor }) => descriptor.size).reduce((a, b) => a + b)).toBe(referred);
    const { layers } = JSON.parse(
      (await readFile(join(dir, 'reference/blobs/sha256', hexOf(image.manifest.digest)))).toString(),
    );
    const listed = layers.reduce((sum: number, { size }: { size: number }) => sum + size, 0);
    expect(image.imageSize).toBe(listed + referred);
  });

  it('takes only what the reference means from a source that it read before', async () => {
    await open(goldenLayout('tiny-nydus'));
    const { source, asked } = watched(goldenLayout('tiny-nydus'));
    const again = await open(source);
    expect(asked).toEqual(['resolve']);
    expect(again.metadataBytes).toBe(0);
  });

  it('opens without the source what it opened before, with a warning', async () => {
    const first = await open(goldenLayout('tiny-nydus'));
    const { source, state, asked } = watched(goldenLayout('tiny-nydus'));
    state.failure = new RafterError('UNAVAILABLE', 'connection refused');
    const image = await open(source);
    expect(image.manifest.digest).toBe(first.manifest.digest);
    expect(image.warnings).toEqual([
      expect.stringMatching(/^connection refused; using sha256:.* meant last$/),
    ]);
    expect(asked).toEqual(['resolve']);
  });

  it('does not do so for another reference, nor when the source says no', async () => {
    await open(goldenLayout('tiny-nydus'));
    const { source, state } = watched(goldenLayout('tiny-nydus'));
    state.failure = new RafterError('UNAVAILABLE', 'connection refused');
    await expect(open(source, { reference: 'example.com/other:1' })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    for (const code of ['NOT_FOUND', 'DENIED'] as const) {
      state.failure = new RafterError(code, 'no');
      await expect(open(source)).rejects.toMatchObject({ code });
    }
  });

  it('opens by digest what it opened by tag, without the source', async () => {
    const first = await open(goldenLayout('tiny-nydus'));
    const { source, state, asked } = watched(goldenLayout('tiny-nydus'));
    state.failure = new RafterError('UNAVAILABLE', 'connection refused');
    const { digest, mediaType, size } = first.manifest;
    for (const reference of [`example.com/tiny@${digest}`, `example.com/other:2@${digest}`]) {
      const image = await open(source, { reference });
      expect(image.manifest).toEqual({ digest, mediaType, size });
      expect(image.warnings).toEqual([expect.stringContaining('connection refused')]);
    }
    expect(asked).toEqual(['resolve', 'resolve']);
    const other = `example.com/tiny@sha256:${'0'.repeat(64)}`;
    await expect(open(source, { reference: other })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    // What is kept of the image besides is no image.
    for (const name of await readdir(join(dir, 'images/blobs/sha256'))) {
      if (`sha256:${name}` === digest) continue;
      const reference = `example.com/tiny@sha256:${name}`;
      await expect(open(source, { reference })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    }
    await writeFile(join(dir, 'images/blobs/sha256', hexOf(digest)), 'damaged');
    const damaged = open(source, { reference: `example.com/third@${digest}` });
    await expect(damaged).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('picks the Nydus manifest of an index that has ordinary ones too', async () => {
    const image = await open(goldenLayout('tiny-both'));
    expect(image.tree!.bootstrap.blobs.length).toBeGreaterThan(0);
    await expect(open(goldenLayout('tiny-both'), { platform: 'linux/s390x' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      hint: expect.stringContaining('linux/amd64'),
    });
  });

  it('reads the chunk map of a blob with one range request where the bootstrap layer has none, once', async () => {
    const path = join(dir, 'layout');
    await writeGoldenLayout('full', path);
    const layout = new LayoutSource({ transport: 'oci', path, tag: 'latest' });
    const { source, asked } = watched(layout);
    const image = await open(source);
    expect(image.blobs.length).toBe(3);
    expect(asked.filter((what) => what.startsWith('range')).length).toBe(3);
    asked.length = 0;
    await open(source);
    expect(asked).toEqual(['resolve']);
    for (const name of await readdir(join(dir, 'images/maps')))
      await writeFile(join(dir, 'images/maps', name), 'damaged');
    await open(source);
    expect(asked.filter((what) => what.startsWith('range')).length).toBe(3);
  });

  it('fetches kept files again that are damaged, of the same size too', async () => {
    const first = await open(goldenLayout('tiny-nydus'));
    const blobs = join(dir, 'images/blobs/sha256');
    for (const name of await readdir(blobs)) await writeFile(join(blobs, name), 'damaged');
    const { source, asked } = watched(goldenLayout('tiny-nydus'));
    expect((await open(source)).manifest.digest).toBe(first.manifest.digest);
    expect(asked.toSorted()).toEqual(['blob', 'blob', 'manifest', 'resolve']);
    const { readFile } = await import('node:fs/promises');
    for (const name of await readdir(blobs)) {
      const bytes = await readFile(join(blobs, name));
      bytes[bytes.length >> 1]! ^= 1;
      await writeFile(join(blobs, name), bytes);
    }
    expect((await open(source)).manifest.digest).toBe(first.manifest.digest);
  });

  it('says of an ordinary image that it is no Nydus image, and what to do', async () => {
    await expect(open(goldenLayout('tiny-src'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('not a Nydus image'),
      hint: expect.stringContaining('rafter convert'),
    });
  });

  it('leaves no temporary file when a download ends early', async () => {
    const layout = goldenLayout('tiny-nydus');
    const { source } = watched(layout);
    source.openBlob = async (descriptor, signal) => {
      const { Readable } = await import('node:stream');
      const whole = await layout.openBlob(descriptor, signal);
      whole.destroy();
      return Readable.from([Buffer.from('too short')]);
    };
    await expect(open(source)).rejects.toMatchObject({ code: 'TRUNCATED' });
    const left = (await readdir(join(dir, 'images'), { recursive: true })).filter((name) =>
      name.endsWith('.tmp'),
    );
    expect(left).toEqual([]);
  });
});
