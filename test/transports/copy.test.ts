import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { MAX_INDEX_ENTRIES } from '../../src/image/manifest.js';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { parseReference } from '../../src/image/reference.js';
import type { ImageSource } from '../../src/image/source.js';
import type { ImageTarget } from '../../src/image/target.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { type CopyOptions, copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { goldenLayout, writeReferenceLayout } from '../mount/layouts.js';
import { storeBlob, storeImage, writeIndexLayout } from '../support/layout-image.js';

// Everything is put on disk with fsync, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-copy-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);
const open = (name: string, tag: string) => openSource(parseReference(`oci:${at(name)}:${tag}`));
const copy = async (from: ImageSource, name: string, options?: CopyOptions) => {
  try {
    return await copyImage(from, openTarget(parseReference(`oci:${at(name)}:copy`)), options);
  } finally {
    // An archive's file stays open until then.
    await from.close();
  }
};

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** Stores `value` as the layout's only image, with whatever `prepare` stores before. */
async function writeDocument(
  mediaType: string,
  build: (target: LayoutTarget) => Promise<object>,
): Promise<void> {
  const target = new LayoutTarget({ transport: 'oci', path: at('source'), tag: 'x' });
  const value = await build(target);
  await target.putManifest(json({ schemaVersion: 2, mediaType, ...value }), mediaType, { tag: true });
  await target.commit();
}

it('copies an index with everything below it, each blob once, and says how far it is', async () => {
  await writeIndexLayout(at('source'), 'both', 50_000);
  const source = open('source', 'both');
  const steps: { done: number; total: number }[] = [];
  const summary = await copy(source, 'target', { jobs: 2, onProgress: (step) => steps.push(step) });
  const { digest, mediaType } = await source.resolve();
  expect(summary).toMatchObject({ digest, mediaType, manifests: 3, copiedBlobs: 5, skippedBlobs: 0 });
  expect(readdirSync(at('target/blobs/sha256')).sort()).toEqual(
    readdirSync(at('source/blobs/sha256')).sort(),
  );
  expect(steps.at(-1)).toEqual({ done: summary.copiedBytes, total: summary.copiedBytes });
  expect(steps.map(({ done }) => done)).toEqual(steps.map(({ done }) => done).sort((a, b) => a - b));

  const again = await copy(source, 'target');
  expect(again).toMatchObject({
    copiedBlobs: 0,
    copiedBytes: 0,
    skippedBlobs: 5,
    skippedBytes: summary.copiedBytes,
  });
});

it('leaves nothing when a blob is missing or damaged', async () => {
  await writeIndexLayout(at('source'), 'both', 50_000);
  const source = open('source', 'both');
  const [image] = JSON.parse((await source.readManifest(await source.resolve())).toString()).manifests;
  const { layers } = JSON.parse((await source.readManifest(image)).toString());
  const blob = at(`source/blobs/sha256/${hexOf(layers[0].digest)}`);
  writeFileSync(blob, Buffer.alloc(layers[0].size));
  await expect(copy(source, 'target')).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  rmSync(blob);
  await expect(copy(source, 'target')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(readdirSync(directory)).toEqual(['source']);
});

it('stops at once and leaves nothing when it is interrupted', async () => {
  await writeIndexLayout(at('source'), 'both', 5_000_000);
  const controller = new AbortController();
  const options = { signal: controller.signal, onProgress: () => controller.abort() };
  await expect(copy(open('source', 'both'), 'target', options)).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
  await expect(copy(open('source', 'both'), 'target', { signal: AbortSignal.abort() })).rejects.toMatchObject(
    {
      code: 'INTERRUPTED',
    },
  );
  expect(existsSync(at('target'))).toBe(false);
});

it('leaves out layers that only their owner may hand out', async () => {
  const foreign = {
    mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    digest: `sha256:${'0'.repeat(64)}`,
    size: 10,
    urls: ['https://owner.example.com/layer'],
  };
  await writeDocument(OCI_MANIFEST, async (target) => ({
    config: await storeBlob(target, OCI_CONFIG, json({ rootfs: { type: 'layers', diff_ids: [] } })),
    layers: [foreign],
  }));
  expect(await copy(open('source', 'x'), 'target')).toMatchObject({ copiedBlobs: 1, manifests: 1 });
});

it('takes members of an index that are no manifests as blobs', async () => {
  await writeDocument(OCI_INDEX, async (target) => ({
    manifests: [await storeBlob(target, 'text/plain', Buffer.from('note')), await storeImage(target, {})],
  }));
  expect(await copy(open('source', 'x'), 'target')).toMatchObject({ manifests: 2, copiedBlobs: 2 });
});

it('takes indexes in indexes, but not without end', async () => {
  const nest = async (target: LayoutTarget, depth: number): Promise<Descriptor> => {
    if (depth === 0) return storeImage(target, {});
    const manifests = [await nest(target, depth - 1)];
    return target.putManifest(json({ schemaVersion: 2, manifests }), OCI_INDEX, { tag: false });
  };
  await writeDocument(OCI_INDEX, async (target) => ({ manifests: [await nest(target, 7)] }));
  expect(await copy(open('source', 'x'), 'target')).toMatchObject({ manifests: 9 });
  await writeDocument(OCI_INDEX, async (target) => ({ manifests: [await nest(target, 8)] }));
  await expect(copy(open('source', 'x'), 'deeper')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});

it('copies what SHA-512 names, to a layout and through archives, and finds it damaged', async () => {
  const target = new LayoutTarget({ transport: 'oci', path: at('source'), tag: 'x' });
  const options = { algorithm: 'sha512', tag: true } as const;
  const { digest } = await storeImage(target, { small: Buffer.from('a'), large: randomBytes(3e6) }, options);
  await target.commit();
  expect(digest).toMatch(/^sha512:/);
  expect(await copy(open('source', 'x'), 'target')).toMatchObject({ digest, copiedBlobs: 3 });
  expect(readdirSync(at('target/blobs/sha512'))).toHaveLength(4);
  expect(readdirSync(at('target/blobs/sha256'))).toEqual([]);
  expect(await copy(open('source', 'x'), 'target')).toMatchObject({ digest, skippedBlobs: 3 });

  const archive = parseReference(`oci-archive:${at('a.tar')}:x`);
  await copyImage(open('target', 'copy'), openTarget(archive));
  expect(await copy(openSource(archive), 'again')).toMatchObject({ digest, copiedBlobs: 3 });
  const docker = parseReference(`docker-archive:${at('d.tar')}:x/y:1`);
  await copyImage(open('target', 'copy'), openTarget(docker));
  expect(await copy(openSource(docker), 'docker')).toMatchObject({ copiedBlobs: 3 });

  for (const name of readdirSync(at('source/blobs/sha512'))) {
    const path = join(at('source/blobs/sha512'), name);
    const whole = readFileSync(path);
    writeFileSync(path, Buffer.from(whole.map((byte) => byte ^ 1)));
    await expect(copy(open('source', 'x'), `damaged-${name}`)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    writeFileSync(path, whole);
  }
});

it('takes the layers along that a Nydus image refers to, and says which one is missing', async () => {
  const whole = await copy(writeReferenceLayout(at('source')), 'target');
  expect(whole).toMatchObject({ manifests: 1, copiedBlobs: 6 });
  const target = open('target', 'copy');
  const { faults, chunks } = await checkImage(target, { platform: 'linux/amd64' });
  expect(faults).toEqual([]);
  expect(chunks).toBe(3);
  expect(await copy(target, 'target')).toMatchObject({ copiedBlobs: 0, skippedBlobs: 6 });
  await expect(copy(goldenLayout('tiny-ociref'), 'incomplete')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringMatching(/sha256.[0-9a-f]{64}/),
  });
});

it('takes an index of the largest kind along with all in it, and nothing larger', async () => {
  const config = { mediaType: OCI_CONFIG, digest: `sha256:${'0'.repeat(64)}`, size: 2 };
  const documents = new Map<string, Buffer>();
  const store = (mediaType: string, value: object): Descriptor => {
    const bytes = json({ schemaVersion: 2, mediaType, ...value });
    const digest = ociDigest(bytes);
    documents.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const manifests = Array.from({ length: MAX_INDEX_ENTRIES }, (_, i) =>
    store(OCI_MANIFEST, { config, layers: [], annotations: { i: String(i) } }),
  );
  const largest = store(OCI_INDEX, { manifests });
  const copyFrom = (top: Descriptor) => {
    const source = {
      name: 'memory',
      resolve: async () => top,
      readManifest: async ({ digest }: Descriptor) => documents.get(digest)!,
    } as unknown as ImageSource;
    let put = 0;
    const target = {
      hasBlob: async () => true,
      putManifest: async () => put++,
      commit: async () => {},
      abort: async () => {},
    } as unknown as ImageTarget;
    return copyImage(source, target).then(() => put);
  };
  expect(await copyFrom(largest)).toBe(MAX_INDEX_ENTRIES + 1);
  await expect(copyFrom(store(OCI_INDEX, { manifests: [largest] }))).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
  });
});
