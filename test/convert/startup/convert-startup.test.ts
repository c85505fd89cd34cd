import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { ConvertRequest } from '../../../src/convert/convert.js';
import { LayoutSource } from '../../../src/image/layout/layout-source.js';
import { describe, type ImageDescription } from '../../../src/inspect/describe.js';
import { convertLayout, makeLayout } from '../layouts.js';
import { makeTar } from '../tar-writer.js';
import { makeElf } from './sample-elf.js';

const cacheDir = mkdtempSync(join(tmpdir(), 'rafter-records-'));
afterAll(() => rmSync(cacheDir, { recursive: true }));

const elf = (needed: string[]) => makeElf({ interpreter: '/lib/ld.so', needed });
const layers = [
  makeTar([
    { name: 'bin/old', data: elf(['liba.so']) },
    { name: 'lib/liba.so', data: makeElf({ padding: 3 << 20, needed: ['libb.so'] }) },
    { name: 'lib/ld.so', data: makeElf({}) },
    { name: 'data/file', data: 'x' },
  ]),
  // What an upper layer takes away or brings counts.
  makeTar([
    { name: 'bin/.wh.old' },
    { name: 'bin/tool', data: elf(['liba.so']) },
    { name: 'usr/lib/libb.so', data: makeElf({}) },
  ]),
];
const source = makeLayout(layers, { config: { config: { Cmd: ['tool'] } } });
const found = ['/bin/tool', '/lib/ld.so', '/lib/liba.so', '/usr/lib/libb.so'];

async function convert(options: ConvertRequest['options'] = {}, more: Partial<ConvertRequest> = {}) {
  const { dir, summary } = await convertLayout(source, options, more);
  const image = new LayoutSource({ transport: 'oci', path: dir, tag: 'out' });
  try {
    const described = (await describe(image, {})) as ImageDescription;
    return { summary, prefetch: described.nydus!.prefetch, digest: summary.target.digest };
  } finally {
    await image.close();
  }
}

it('lists what the command reads in the prefetch table, and says how much that is', async () => {
  const { prefetch, summary } = await convert();
  expect(prefetch).toEqual(found);
  expect(summary.startup.files).toBe(4);
  expect(summary.startup.bytes).toBeGreaterThan(3 << 20);
});

it('lists what the user names first, and nothing else where that is not wanted', async () => {
  expect((await convert({ prefetch: ['/data', '/lib/liba.so'] })).prefetch).toEqual([
    ...['/data', '/lib/liba.so', '/bin/tool', '/lib/ld.so', '/usr/lib/libb.so'],
  ]);
  const none = await convert({ findStartup: false });
  expect(none.prefetch ?? []).toEqual([]);
  expect(none.summary.startup).toEqual({ files: 0, bytes: 0 });
});

it('gives the same bytes with any number of threads, and of layers that were converted before', async () => {
  const { digest } = await convert({ jobs: 1 });
  expect((await convert({ jobs: 3 })).digest).toBe(digest);
  expect((await convert({}, { cacheDir })).digest).toBe(digest);
  // What was looked at is another thing than what was not.
  await convert({ findStartup: false }, { cacheDir });
  expect((await convert({}, { cacheDir })).digest).toBe(digest);
});
