import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { MS_RDONLY, mount, unmount } from '../../src/os/mount.js';
import { decodeBlobs, takeApart } from '../support/nydus-layout.js';
import { missingPrograms } from '../support/programs.js';
import { awaited, PROPERTY_TIMEOUT, propertyRuns } from '../support/property.js';
import { compareTrees, readTree, type Tree, type TreeField } from '../support/tree.js';
import type { ModelNode, Operation } from './layer-model.js';
import { convertLayout, makeLayout } from './layouts.js';
import { buildLayers, layerStack, whiteoutsFirst } from './random-layers.js';
import { type Row, readImage } from './read-image.js';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const nydusImage = process.env.RAFTER_PEERS && join(process.env.RAFTER_PEERS, 'nydus-image');
/** What ext4, which umoci unpacks to, can hold, and umoci, which counts nanoseconds in 64 bits. */
const TIMES = { min: -(2 ** 31), max: 2 ** 33 };

const root = mkdtempSync(join(tmpdir(), 'rafter-layers-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const options = fc.record({
  chunkSize: fc.constantFrom(4096, 1 << 20),
  batchSize: fc.constantFrom(0, 4096, 1 << 20),
  compressor: fc.constantFrom('zstd' as const, 'none' as const, 'lz4_block' as const),
  jobs: fc.constantFrom(1, 2),
});

/**
 * Where umoci may differ: directories that no layer lists get what mkdir(2) gives them, with the set-group-id bit and the group
 * of where they are; they, the root and what they are made in get the time of unpacking.
 */
function umociErrs(model: Map<string, ModelNode>) {
  return (path: string, field: TreeField) => {
    const node = model.get(path);
    if (node?.implied) return ['mtime', 'mode', 'owner'].includes(field);
    return field === 'mtime' && (path === '/' || node?.touched === true);
  };
}

/** What our reader says of an image, as a tree on disk would show it. */
function treeOf(rows: Map<string, Row>): Tree {
  const tree: Tree = new Map();
  for (const [path, row] of rows) {
    tree.set(path, {
      type: row.type,
      mode: (row.mode & 0o7777).toString(8).padStart(4, '0'),
      owner: `${row.uid}:${row.gid}`,
      nlink: row.type === 'dir' ? '' : String(row.nlink),
      mtime: String(BigInt(row.mtimeSec) * 1_000_000_000n + BigInt(row.mtimeNsec)),
      size: row.type === 'file' ? String(row.size) : row.type === 'symlink' ? String(row.target!.length) : '',
      rdev: row.rdev ? String(rdevOf(row.rdev)) : '',
      target: row.target ?? '',
      xattrs: Object.entries(row.xattrs)
        .sort()
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
      sha256: row.sha256 ?? '',
    });
  }
  return tree;
}

/** makedev(3). */
function rdevOf([major, minor]: [number, number]): number {
  return (minor & 0xfff00) * 4096 + (major & 0xfff) * 256 + (minor & 0xff);
}

async function judge(layers: Operation[][], chosen: object, dir: string): Promise<void> {
  const { tars, tree: model } = buildLayers(layers);
  const source = makeLayout(tars);
  const { dir: target } = await convertLayout(source, chosen);
  await run('umoci', ['unpack', '--image', `${source}:t`, join(dir, 'bundle')]);
  const expected = await readTree(join(dir, 'bundle/rootfs'));
  const except = umociErrs(model);

  expect(compareTrees(expected, treeOf((await readImage(target)).rows), except), 'our reader').toEqual([]);

  const image = await takeApart(target, 'out', dir);
  const devices = decodeBlobs(image, dir);
  const mountpoint = join(dir, 'mnt');
  mkdirSync(mountpoint);
  const data = devices.map((device) => `device=${device}`).join(',');
  mount({ source: image.bootstrapFile, target: mountpoint, type: 'erofs', flags: MS_RDONLY, data });
  try {
    expect(compareTrees(expected, await readTree(mountpoint), except), 'the kernel').toEqual([]);
  } finally {
    unmount(mountpoint, { detach: true });
  }
  if (missingPrograms('fsck.erofs') === undefined) {
    const judged = spawnSync('fsck.erofs', [
      ...devices.map((device) => `--device=${device}`),
      '--extract',
      image.bootstrapFile,
    ]);
    expect(`${judged.status}: ${judged.stdout}${judged.stderr}`).toBe('0: ');
  }
  if (nydusImage && existsSync(nydusImage)) {
    const judged = spawnSync(nydusImage, ['check', '--bootstrap', image.bootstrapFile]);
    expect(`${judged.stdout}${judged.stderr}`).toContain('RAFS filesystem metadata is valid');
  }
}

describe.skipIf(!isRoot)('random layers', () => {
  const title = 'are what umoci unpacks: through our reader, the kernel, fsck.erofs and nydus-image check';
  it(title, { timeout: PROPERTY_TIMEOUT }, async (ctx) => {
    const missing = missingPrograms('umoci');
    if (missing) return ctx.skip(missing);
    let count = 0;
    const { predicate, settle } = awaited(async (layers: Operation[][], chosen: object) => {
      const dir = join(root, String(count++));
      mkdirSync(dir);
      try {
        await judge(whiteoutsFirst(layers), chosen, dir);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    });
    const property = fc.asyncProperty(layerStack({ mtime: TIMES }), options, predicate);
    try {
      await fc.assert(property, propertyRuns(8));
    } finally {
      await settle();
    }
    expect(count).toBeGreaterThan(0);
  });
});
