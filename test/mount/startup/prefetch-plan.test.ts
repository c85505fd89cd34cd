import { expect, it, vi } from 'vitest';
import { LayoutSource } from '../../../src/image/layout/layout-source.js';
import { openImage } from '../../../src/inspect/open-image.js';
import { listedChunks } from '../../../src/mount/startup/prefetch-plan.js';
import type { Bootstrap } from '../../../src/rafs/bootstrap.js';
import { convertLayout, makeLayout } from '../../convert/layouts.js';
import { makeTar } from '../../convert/tar-writer.js';

const CHUNK = 4096;
const file = (name: string, chunks: number) => ({
  name,
  data: Buffer.concat(Array.from({ length: chunks }, (_, i) => Buffer.alloc(CHUNK, `${name}${i}`))),
});

async function bootstrapWith(prefetch: string[]): Promise<Bootstrap> {
  const items = [file('one', 1), file('two', 2), { name: 'd', type: '5' }, file('d/three', 3)];
  const { dir } = await convertLayout(makeLayout([makeTar(items)]), { chunkSize: CHUNK, prefetch });
  const source = new LayoutSource({ transport: 'oci', path: dir, tag: 'out' });
  try {
    return (await openImage(source)).bootstrap;
  } finally {
    await source.close();
  }
}
const indices = (...args: Parameters<typeof listedChunks>) =>
  [...listedChunks(...args)].map(({ chunkIndex }) => chunkIndex);

it('are those of the files, in the order of the table; a directory means what is in it', async () => {
  expect(indices(await bootstrapWith(['/d', '/two']))).toEqual([3, 4, 5, 1, 2]);
});

it('are none for the root, which says nothing, nor for what is no inode', async () => {
  const bootstrap = await bootstrapWith(['/']);
  expect(bootstrap.prefetchNids).toHaveLength(1);
  expect(indices(bootstrap)).toEqual([]);
  vi.spyOn(bootstrap, 'prefetchNids', 'get').mockReturnValue([0xfffffff0]);
  expect(indices(bootstrap)).toEqual([]);
});

it('end at the limits', async () => {
  const bootstrap = await bootstrapWith(['/d', '/two', '/one']);
  expect(indices(bootstrap, { maxBytes: 4 * CHUNK })).toEqual([3, 4, 5, 1]);
  expect(indices(bootstrap, { maxBytes: 4 * CHUNK - 1 })).toEqual([3, 4, 5]);
  // Steps: the directory, the file in it, its three chunks; the next file, its two chunks.
  expect(indices(bootstrap, { maxSteps: 8 })).toEqual([3, 4, 5, 1, 2]);
  expect(indices(bootstrap, { maxSteps: 7 })).toEqual([3, 4, 5, 1]);
});
