import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import { ociDigest } from '../../src/codec/digest.js';
import type { ImageSource } from '../../src/image/source.js';
import type { ImageStore } from '../../src/mount/image-store.js';
import { StartupPack } from '../../src/mount/startup-pack.js';
import { inSteps, packOf, sampleBytes } from '../startup/sample-pack.js';

const { file, reference } = packOf([['aa', 0, sampleBytes(100_000)]]);
const descriptor = { mediaType: 'pack', digest: ociDigest(file), size: file.length };

/** A pack that is kept on this machine, and the stream that it comes from. */
function keptPack(): { pack: StartupPack; stream: Readable; warnings: unknown[] } {
  const stream = Readable.from(inSteps(file, 100));
  const warnings: unknown[] = [];
  const pack = new StartupPack({
    layer: { ...reference, descriptor },
    store: { openBlob: async () => stream } as unknown as ImageStore,
    source: { name: 'image' } as ImageSource,
    mayFetch: false,
    tempDir: '/nonexistent',
    onRequest: () => () => {},
    onBytes: () => {},
    onWarning: (warning) => warnings.push(warning),
  });
  return { pack, stream, warnings };
}

it('lets go of a kept pack whose chunks are all here', async () => {
  const { pack, stream, warnings } = keptPack();
  const layout = { id: 'aa', decodedSize: 100_000, chunkCount: 1, chunkAtDecoded: () => 0 };
  const blob = { has: () => true, layout: { ...layout, chunk: () => ({ decodedOffset: 0 }) } };
  expect(await pack.attach([blob as unknown as BlobCache])).toBe(false);
  expect(stream.destroyed).toBe(true);
  await pack.close();
  expect(warnings).toEqual([]);
});

it('lets go of a kept pack that no mount has come to use', async () => {
  const { pack, stream } = keptPack();
  await pack.close();
  expect(stream.destroyed).toBe(true);
});
