import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { oddLayers, umociLimits } from '../support/odd-image.js';
import { missingPrograms } from '../support/programs.js';
import { compareTrees, readTree, type Tree, type TreeField } from '../support/tree.js';

const WAYS = [
  { name: 'erofs', options: ['--driver', 'erofs'] },
  { name: 'fuse, device', options: ['--driver', 'fuse', '--transport', 'device'] },
  { name: 'fuse, libfuse', options: ['--driver', 'fuse', '--transport', 'libfuse'] },
];
/** Images to compare instead of the small one, `oci:DIR:TAG` each: `npm run test:trees`. */
const named = (process.env.RAFTER_TREES ?? '').split(' ').filter(Boolean);
/** A whole image may take a while, in milliseconds. */
const PATIENCE = named.length === 0 ? 120_000 : 3_600_000;
const missing = process.geteuid?.() === 0 ? missingPrograms('umoci') : 'needs root';

/** umoci gives the root, which no layer lists, the time of unpacking. */
const rootTime = (path: string, field: TreeField) => path === '/' && field === 'mtime';

describe.skipIf(missing).each(named.length === 0 ? ['an image full of odd cases'] : named)('%s', (image) => {
  let rafter: CommandLine;
  let unpacked: Tree;

  beforeAll(async () => {
    rafter = createCommandLine();
    let source = image;
    if (named.length === 0) {
      source = `oci:${join(rafter.dir, 'source')}:odd`;
      await writeLayerImage(join(rafter.dir, 'source'), 'odd', oddLayers);
    }
    const bundle = join(rafter.dir, 'bundle');
    execFileSync('umoci', ['unpack', '--image', source.replace(/^oci:/, ''), bundle], { stdio: 'pipe' });
    unpacked = await readTree(join(bundle, 'rootfs'));
    await rafter.ok('convert', '--no-cache', source, `oci:${join(rafter.dir, 'nydus')}:x`);
  }, PATIENCE);

  afterAll(async () => {
    expect(await rafter?.remove()).toEqual([]);
  }, PATIENCE);

  it.each(WAYS)(
    'is the tree that umoci unpacks, attribute by attribute and byte by byte: $name',
    async ({ name, options }) => {
      const place = join(rafter.dir, `mnt-${name.replace(', ', '-')}`);
      mkdirSync(place);
      await rafter.ok('mount', ...options, `oci:${join(rafter.dir, 'nydus')}:x`, place);
      const mounted = await readTree(place);
      expect(compareTrees(unpacked, mounted, named.length === 0 ? umociLimits : rootTime)).toEqual([]);
      if (named.length > 0) console.log(`${image}: ${mounted.size} paths, all equal through ${name}`);
      await rafter.ok('umount', place);
    },
    PATIENCE,
  );
});
