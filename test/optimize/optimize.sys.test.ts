import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exportImage } from '../../src/export/export.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { diffImages } from '../../src/inspect/diff-images.js';
import { openImage } from '../../src/inspect/open-image.js';
import { optimizeImage } from '../../src/optimize/optimize.js';
import { copyImage } from '../../src/transports/copy.js';
import { expectedTree } from '../mount/golden-tree.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { takeApart } from '../support/nydus-layout.js';
import { startNydusd } from '../support/nydusd.js';
import { peerOrSkip } from '../support/programs.js';
import { compareTrees, readTree } from '../support/tree.js';

const platform = 'linux/amd64';
let dir: string;
const from = (name: string, tag: string) =>
  new LayoutSource({ transport: 'oci', path: join(dir, name), tag });
const to = (name: string, tag: string) => new LayoutTarget({ transport: 'oci', path: join(dir, name), tag });

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-optimized-'));
  await writeGoldenLayout('small', join(dir, 'images'));
  const { bootstrap, descriptor } = await openImage(from('images', 'latest'), { platform });
  await optimizeImage({
    source: from('images', 'latest'),
    target: to('images', 'fast'),
    platform,
    tempDir: join(dir, 'tmp'),
    traces: [
      {
        reference: 'small',
        manifest: descriptor.digest,
        blobs: bootstrap.blobs.map(({ id }) => id),
        driver: 'fuse',
        startedAt: '2026-01-02T03:04:05.678Z',
        touches: [{ blob: 0, offset: 0, length: 65_536, atMs: 0, waitedMs: 0, from: 'local' }],
      },
    ],
  });
});
afterAll(() => rm(dir, { recursive: true }));

it('nydusd mounts it as it did before', async (ctx) => {
  const program = peerOrSkip(ctx, 'nydusd');
  const nydusd = await startNydusd(
    program,
    await takeApart(join(dir, 'images'), 'fast', dir),
    join(dir, 'n'),
  );
  try {
    const differences = compareTrees(expectedTree('small'), await readTree(nydusd.mountPoint));
    // nydusd's root has the time of the mount.
    expect(differences.filter((text) => !text.startsWith('/: mtime'))).toEqual([]);
  } finally {
    await nydusd.stop();
  }
});

it('a copy takes the pack along, an export leaves it out, and a diff sees no difference', async () => {
  await copyImage(from('images', 'fast'), to('copy', 'fast'));
  expect(
    (await checkImage(from('copy', 'fast'), { platform })).faults.filter(({ part }) => part === 'blob'),
  ).toEqual([]);
  expect(await diffImages(from('images', 'latest'), from('copy', 'fast'), { platform })).toEqual([]);
  await exportImage({ source: from('copy', 'fast'), target: to('plain', 'fast'), platform });
  expect(await diffImages(from('copy', 'fast'), from('plain', 'fast'), { platform })).toEqual([]);
});
