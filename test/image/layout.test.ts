import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { withDirectoryLock } from '../../src/image/layout/file-lock.js';
import {
  MAX_LAYOUT_ENTRIES,
  MAX_MARKER_SIZE,
  parseLayoutIndex,
} from '../../src/image/layout/layout-files.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { MAX_MANIFEST_SIZE } from '../../src/image/manifest.js';
import { OCI_MANIFEST } from '../../src/image/media-types.js';
import { storeBlob, storeImage, writeIndexLayout } from '../support/layout-image.js';

// Everything is put on disk with fsync, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let directory: string;
let root: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-layout-'));
  root = join(directory, 'layout');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const sourceOf = (tag?: string, digest?: string) =>
  new LayoutSource({ transport: 'oci', path: root, tag, digest });
const targetOf = (tag?: string, path = root) => new LayoutTarget({ transport: 'oci', path, tag });
const pathOf = ({ digest }: Descriptor) => join(root, 'blobs', 'sha256', digest.slice(7));
const entriesOf = () => JSON.parse(readFileSync(join(root, 'index.json'), 'utf8')).manifests;

async function writeImage(tag: string | undefined, content: string): Promise<Descriptor> {
  const target = targetOf(tag);
  const descriptor = await storeImage(target, { file: Buffer.from(content) }, { tag: true });
  await target.commit();
  return descriptor;
}

async function drain(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('writing', () => {
  it('makes a layout that reads back, with nothing else in it', async () => {
    const descriptor = await writeImage('v1', 'hello');
    expect(readdirSync(directory)).toEqual(['layout']);
    expect(readdirSync(root).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    expect(readFileSync(join(root, 'oci-layout'), 'utf8')).toBe('{"imageLayoutVersion":"1.0.0"}');
    expect(readdirSync(join(root, 'blobs', 'sha256'))).toHaveLength(3);
    expect(await sourceOf('v1').resolve()).toMatchObject(descriptor);
  });

  it('shows nothing before commit and leaves nothing after abort, not even parents', async () => {
    const deep = join(directory, 'a', 'b', 'c');
    const target = targetOf('v1', deep);
    const blob = await target.createBlob();
    await blob.write(randomBytes(100));
    await storeImage(target, { file: Buffer.from('x') }, { tag: true });
    expect(existsSync(join(directory, 'a'))).toBe(false);
    await target.abort();
    expect(readdirSync(directory)).toEqual([]);
    await target.abort();
  });

  it('leaves an existing layout untouched by abort', async () => {
    await writeImage('v1', 'one');
    const before = readFileSync(join(root, 'index.json'), 'utf8');
    const blobs = readdirSync(join(root, 'blobs', 'sha256'));
    const target = targetOf('v2');
    await storeImage(target, { file: Buffer.from('two') }, { tag: true });
    await target.abort();
    expect(readFileSync(join(root, 'index.json'), 'utf8')).toBe(before);
    expect(readdirSync(join(root, 'blobs', 'sha256'))).toEqual(blobs);
    expect(readdirSync(root).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('keeps other entries and unknown members, and replaces the same tag', async () => {
    await writeImage('one', '1');
    const index = JSON.parse(readFileSync(join(root, 'index.json'), 'utf8'));
    writeFileSync(join(root, 'index.json'), JSON.stringify({ ...index, annotations: { mine: 'yes' } }));
    await writeImage('two', '2');
    const replaced = await writeImage('one', '3');
    expect(entriesOf()).toHaveLength(2);
    expect(JSON.parse(readFileSync(join(root, 'index.json'), 'utf8')).annotations).toEqual({ mine: 'yes' });
    expect((await sourceOf('one').resolve()).digest).toBe(replaced.digest);
  });

  it('adds an image without a tag once', async () => {
    await writeImage('one', '1');
    await writeImage(undefined, '2');
    await writeImage(undefined, '2');
    expect(entriesOf()).toHaveLength(2);
  });

  it.each(['a new', 'an existing', 'an empty'])(
    'loses no entry when ten write into %s layout at once',
    async (kind) => {
      if (kind === 'an existing') await writeImage('first', 'x');
      if (kind === 'an empty') mkdirSync(root);
      const tags = Array.from({ length: 10 }, (_, i) => `t${i}`);
      await Promise.all(tags.map((tag) => writeImage(tag, `content of ${tag}`)));
      for (const tag of tags) {
        const source = sourceOf(tag);
        await source.readManifest(await source.resolve());
      }
      expect(entriesOf()).toHaveLength(kind === 'an existing' ? 11 : 10);
      expect(readdirSync(directory)).toEqual(['layout']);
      expect(readdirSync(root).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    },
  );

  it('says which blobs it has, staged ones included', async () => {
    const target = targetOf('x');
    const unknown = { digest: ociDigest(Buffer.from('q')), size: 1 };
    expect(await target.hasBlob(unknown)).toBe(false);
    const stored = await storeBlob(target, 'a/b', Buffer.from('abc'));
    expect(await target.hasBlob(stored)).toBe(true);
    expect(await target.hasBlob({ ...stored, size: 4 })).toBe(false);
    await storeImage(target, {}, { tag: true });
    await target.commit();
    expect(await targetOf('y').hasBlob(stored)).toBe(true);
  });

  it('refuses a blob that is not the expected one', async () => {
    const target = targetOf('x');
    const blob = await target.createBlob();
    await blob.write(Buffer.from('abc'));
    await expect(blob.commit(ociDigest(Buffer.from('abd')))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    await blob.abort();
    await target.abort();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('stops writing when it is interrupted', async () => {
    const target = targetOf('x');
    const controller = new AbortController();
    const blob = await target.createBlob(controller.signal);
    controller.abort();
    await expect(blob.write(Buffer.alloc(1))).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await target.abort();
  });

  it('refuses a directory with other things in it, a file, and a digest as the name', async () => {
    mkdirSync(root);
    writeFileSync(join(root, 'letter.txt'), 'dear');
    await expect(targetOf('x').createBlob()).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('letter.txt'),
    });
    await expect(targetOf('x', join(root, 'letter.txt')).createBlob()).rejects.toMatchObject({
      code: 'USAGE',
    });
    const digest = `sha256:${'0'.repeat(64)}`;
    expect(() => new LayoutTarget({ transport: 'oci', path: root, digest })).toThrow('named by a tag');
  });

  it('writes into a directory where another writer has only begun', async () => {
    mkdirSync(join(root, 'blobs'), { recursive: true });
    writeFileSync(join(root, 'index.json.4711.tmp'), '');
    const target = targetOf('x');
    await storeImage(target, { file: Buffer.from('x') }, { tag: true });
    await target.commit();
    expect(JSON.parse(readFileSync(join(root, 'index.json'), 'utf8')).manifests).toHaveLength(1);
  });

  it('removes the stages of dead writers at once, and no others', async () => {
    await writeImage('x', 'x');
    const random = '0123456789abcdef';
    const [dead, elsewhere, own] = [4194304, 4194303, process.pid].map((pid) =>
      join(root, `.rafter-stage-${pid}-${random}`),
    );
    for (const path of [dead!, elsewhere!, own!]) mkdirSync(join(path, 'blobs'), { recursive: true });
    // What others put there is theirs, and a symlink nobody's stage.
    const precious = join(root, '..', 'precious');
    mkdirSync(precious);
    const link = join(root, `.rafter-stage-4194302-${random}`);
    symlinkSync(precious, link);
    const his = join(root, `.rafter-stage-4194301-${random}`);
    if (process.geteuid?.() === 0) {
      mkdirSync(his);
      chownSync(his, 1234, 1234);
    }
    const others = [link, his].filter((path) => existsSync(path)).map((path) => basename(path));
    const stages = () => readdirSync(root).filter((name) => name.startsWith('.rafter'));
    // As a living writer of another pid namespace has it.
    await withDirectoryLock(elsewhere!, () => writeImage('y', 'y'));
    expect(stages().sort()).toEqual([...others, ...[elsewhere, own].map((path) => basename(path!))].sort());
    await writeImage('z', 'z');
    expect(stages().sort()).toEqual([...others, basename(own!)].sort());
    expect(existsSync(precious)).toBe(true);
  });

  it('gives the files of finished blobs until they are published', async () => {
    const target = targetOf('x');
    const unknown = `sha256:${'0'.repeat(64)}`;
    expect(await target.stagedFile(unknown)).toBeUndefined();
    const { digest } = await storeBlob(target, 'a/b', Buffer.from('abc'));
    expect(readFileSync((await target.stagedFile(digest))!, 'utf8')).toBe('abc');
    expect(await target.stagedFile(unknown)).toBeUndefined();
    await storeImage(target, {}, { tag: true });
    await target.commit();
    expect(await target.stagedFile(digest)).toBeUndefined();
  });
});

describe('reading', () => {
  it('takes the only image without a tag, and lists the tags when there are several', async () => {
    const only = await writeImage('one', '1');
    expect((await sourceOf().resolve()).digest).toBe(only.digest);
    await writeImage('two', '2');
    await expect(sourceOf().resolve()).rejects.toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('one, two'),
    });
    await expect(sourceOf('three').resolve()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      hint: expect.stringContaining('one, two'),
    });
  });

  it('finds the members of an index by digest', async () => {
    await writeIndexLayout(root, 'both');
    const source = sourceOf('both');
    const index = JSON.parse((await source.readManifest(await source.resolve())).toString());
    const [, arm] = index.manifests;
    expect(await sourceOf(undefined, arm.digest).resolve()).toEqual({
      mediaType: OCI_MANIFEST,
      digest: arm.digest,
      size: arm.size,
    });
    const unknown = `sha256:${'0'.repeat(64)}`;
    await expect(sourceOf(undefined, unknown).resolve()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it.each([
    ['no directory', () => {}, 'NOT_FOUND', 'no such directory'],
    ['an empty directory', () => mkdirSync(root), 'NOT_FOUND', 'no OCI layout'],
    ['a file', () => writeFileSync(root, ''), 'USAGE', 'not a directory'],
  ])('says what is wrong with %s', async (_, prepare, code, message) => {
    prepare();
    await expect(sourceOf('x').resolve()).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it('says what is wrong with the files of a layout', async () => {
    await writeImage('x', 'x');
    writeFileSync(join(root, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
    await expect(sourceOf('x').resolve()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    rmSync(join(root, 'oci-layout'));
    writeFileSync(join(root, 'index.json'), '{"schemaVersion":2,"manifests":[{"mediaType":"x"}]}');
    await expect(sourceOf('x').resolve()).rejects.toMatchObject({
      code: 'MALFORMED',
      message: expect.stringMatching(/index\.json: manifests\.0\./),
    });
    writeFileSync(join(root, 'index.json'), '{"schemaVersion":2}');
    await expect(sourceOf().resolve()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('gives ranges exactly and says when a blob ends before', async () => {
    const content = randomBytes(10_000);
    const target = targetOf('x');
    const blob = await storeBlob(target, 'a/b', content);
    await storeImage(target, {}, { tag: true });
    await target.commit();
    const source = sourceOf('x');
    expect(await source.readBlobRange(blob, 100, 50)).toEqual(content.subarray(100, 150));
    expect(await source.readBlobRange(blob, 9_999, 1)).toEqual(content.subarray(9_999));
    expect(await source.readBlobRange(blob, 10_000, 0)).toHaveLength(0);
    await expect(source.readBlobRange(blob, 9_990, 11)).rejects.toMatchObject({ code: 'TRUNCATED' });
  });

  it('never ends a damaged blob cleanly', async () => {
    const content = randomBytes(3_000_000);
    const target = targetOf('x');
    const blob = await storeBlob(target, 'a/b', content);
    const manifest = await storeImage(target, {}, { tag: true });
    await target.commit();
    const source = sourceOf('x');
    expect((await drain(await source.openBlob(blob))).equals(content)).toBe(true);

    appendFileSync(pathOf(blob), 'x');
    await expect(drain(await source.openBlob(blob))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    truncateSync(pathOf(blob), 2_999_999);
    await expect(drain(await source.openBlob(blob))).rejects.toMatchObject({ code: 'TRUNCATED' });
    content[1_500_000]! ^= 1;
    writeFileSync(pathOf(blob), content);
    await expect(drain(await source.openBlob(blob))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(pathOf(blob)),
    });
    rmSync(pathOf(blob));
    await expect(source.openBlob(blob)).rejects.toMatchObject({ code: 'NOT_FOUND' });

    writeFileSync(pathOf(manifest), 'x'.repeat(manifest.size));
    await expect(source.readManifest(manifest)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    await expect(source.readManifest({ ...manifest, size: 9 << 20 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
  });

  it('ends at once when it is interrupted', async () => {
    const target = targetOf('x');
    const blob = await storeBlob(target, 'a/b', randomBytes(8_000_000));
    await storeImage(target, {}, { tag: true });
    await target.commit();
    const controller = new AbortController();
    const stream = await sourceOf('x').openBlob(blob, controller.signal);
    const reading = (async () => {
      for await (const _ of stream) controller.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: 'INTERRUPTED' });
    const late = await sourceOf('x').openBlob(blob, controller.signal);
    await expect(drain(late)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

it('lets one work under the lock at a time, and says when that takes too long', async () => {
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 5 }, () =>
      withDirectoryLock(directory, async () => {
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setTimeout(resolve, 5));
        inside--;
      }),
    ),
  );
  expect(most).toBe(1);
  await withDirectoryLock(directory, async () => {
    await expect(withDirectoryLock(directory, async () => {}, { waitMs: 50 })).rejects.toMatchObject({
      code: 'BUSY',
    });
  });
});

it('takes documents of the size of the limits, and none larger', async () => {
  const entry = await writeImage('x', 'hello');
  const index = JSON.stringify({ schemaVersion: 2, manifests: [entry] });
  const resolve = (digest: string) => sourceOf(undefined, digest).resolve();
  const write = (name: string, text: string) => writeFileSync(join(root, name), text);
  write('index.json', index.padEnd(MAX_MANIFEST_SIZE));
  expect(await resolve(entry.digest)).toMatchObject({ digest: entry.digest });
  write('index.json', index.padEnd(MAX_MANIFEST_SIZE + 1));
  await expect(resolve(entry.digest)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  write('index.json', index);
  write('oci-layout', '{"imageLayoutVersion":"1.0.0"}'.padEnd(MAX_MARKER_SIZE));
  expect(await resolve(entry.digest)).toMatchObject({ digest: entry.digest });
  write('oci-layout', '{"imageLayoutVersion":"1.0.0"}'.padEnd(MAX_MARKER_SIZE + 1));
  await expect(resolve(entry.digest)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});

it('takes as many images in one layout as the limit, and no more', () => {
  const entry = { mediaType: 'a/b', digest: `sha256:${'0'.repeat(64)}`, size: 1 };
  const index = (count: number) =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: Array.from({ length: count }, () => entry) }));
  expect(parseLayoutIndex(index(MAX_LAYOUT_ENTRIES), 'x').manifests).toHaveLength(MAX_LAYOUT_ENTRIES);
  expect(() => parseLayoutIndex(index(MAX_LAYOUT_ENTRIES + 1), 'x')).toThrow(
    expect.objectContaining({ code: 'MALFORMED', message: expect.stringContaining('x: manifests') }),
  );
});
