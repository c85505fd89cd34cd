import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { goldenTree } from '../rafs/golden.js';
import { makeSmallRootfs } from '../run/small-rootfs.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeFieldLayout } from '../support/field-image.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree } from '../support/tree.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden');
const layer = join(golden, 'in/full1.tar.gz');
const run = promisify(execFile);

describe.skipIf(missingPrograms('docker-registry'))(
  'an image that refers to a gzip layer in its registry',
  () => {
    let rafter: CommandLine;
    let registry: TestRegistry;
    let image: string;

    beforeAll(async () => {
      rafter = createCommandLine();
      registry = await startRegistry();
      const objects = join(rafter.dir, 'objects');
      mkdirSync(objects);
      const map = join(golden, 'ref/full1-zran.meta');
      copyFileSync(map, join(objects, sha256(readFileSync(map)).toString('hex')));
      const field = { bootstrap: join(golden, 'ref/full1-zran.boot'), objects };
      await writeFieldLayout(field, join(rafter.dir, 'layout'), [layer]);
      image = `${registry.host}/odd:reference`;
      await rafter.ok('copy', `oci:${join(rafter.dir, 'layout')}:latest`, image);
    });

    afterAll(async () => {
      await registry?.stop();
      expect(await rafter?.remove()).toEqual([]);
    });

    /** Ranges that the registry was asked for of the ordinary layer, and their bytes. */
    const ofLayer = () => {
      const hex = sha256(readFileSync(layer)).toString('hex');
      const found = registry.requests.filter(({ method, path }) => method === 'GET' && path.includes(hex));
      return {
        ranges: found.map(({ range }) => range),
        bytes: found.reduce((sum, { bytes }) => sum + bytes, 0),
      };
    };

    it('was copied with that layer, and has no fault', async () => {
      expect((await rafter.ok('check', image)).code).toBe(0);
      const { stdout } = await rafter.ok('inspect', '--json', image);
      expect(stdout).toContain('"zran"');
    });

    it('gives a file for one slice of the layer', async () => {
      registry.requests.length = 0;
      const list = (await rafter.ok('ls', '--json', '-R', image)).stdout.trim().split('\n');
      expect(ofLayer().ranges).toEqual([]);
      const files = list
        .map((line) => JSON.parse(line))
        .filter(({ type, size }) => type === 'file' && size > 0);
      const { path } = files.find(({ size }) => size === 4097);
      const { stdout } = await rafter.ok('cat', image, path);
      expect(stdout.length).toBeGreaterThan(0);
      const { ranges, bytes } = ofLayer();
      expect(ranges).toEqual([expect.stringMatching(/^bytes=\d+-\d+$/)]);
      expect(bytes).toBeLessThan(readFileSync(layer).length / 2);
    });

    it('shows one tree unpacked and mounted, fetching each slice once', async () => {
      const [unpacked, mounted] = ['unpacked', 'mounted'].map((name) => join(rafter.dir, name)) as [
        string,
        string,
      ];
      await rafter.ok('unpack', image, unpacked);
      mkdirSync(mounted);
      registry.requests.length = 0;
      await rafter.ok('mount', image, mounted);
      try {
        const tree = await readTree(mounted);
        expect(tree.size).toBeGreaterThan(600);
        // Slices overlap by some bytes at most, so the layer comes about once, although in ten pieces.
        expect(ofLayer().bytes).toBeLessThan(readFileSync(layer).length * 1.2);
        const isLost = (_path: string, field: string, theirs: string) =>
          field === 'mtime' && Math.abs(Number(theirs)) > 2 ** 31 * 1e9;
        expect(compareTrees(tree, await readTree(unpacked), isLost)).toEqual([]);
      } finally {
        await rafter.ok('umount', mounted);
      }
    });

    it('exports to an ordinary image of the same content', async () => {
      const exported = `oci:${join(rafter.dir, 'exported')}:plain`;
      await rafter.ok('export', image, exported);
      const { stdout } = await rafter.run('check', '--json', '--source', exported, image);
      // nydus-image leaves a whiteout of the lowest layer visible, which no layer can hold.
      expect(JSON.parse(stdout).faults).toEqual([expect.objectContaining({ path: '/ov/.wh.in-lowest' })]);
      expect((await rafter.ok('diff', image, image)).stdout).toBe('');
    });

    it('runs, made by nydusify of an image with programs', async (ctx) => {
      const missing = missingPrograms('runc');
      if (missing) return ctx.skip(missing);
      const nydusify = peerOrSkip(ctx, 'nydusify');
      const rootfs = makeSmallRootfs(join(rafter.dir, 'rootfs'));
      const tar = join(rafter.dir, 'rootfs.tar.gz');
      execFileSync('tar', ['-C', rootfs, '-czf', tar, '.']);
      await writeLayerImage(join(rafter.dir, 'programs'), 'plain', [tar]);
      const source = `${registry.host}/programs:plain`;
      const target = `${registry.host}/programs:reference`;
      await rafter.ok('copy', `oci:${join(rafter.dir, 'programs')}:plain`, source);
      const options = ['--source-insecure', '--target-insecure', '--work-dir', join(rafter.dir, 'nydusify')];
      await run(nydusify, ['convert', '--oci-ref', '--source', source, '--target', target, ...options], {
        env: { ...process.env, PATH: `${process.env.RAFTER_PEERS}:${process.env.PATH}` },
      });
      const { stdout } = await rafter.ok('run', target, '--', 'cat', '/data/from-image');
      expect(stdout).toBe('image\n');
      expect((await rafter.ok('check', '--source', source, target)).code).toBe(0);
    });
  },
);

describe('an encrypted image', () => {
  let rafter: CommandLine;
  beforeAll(() => {
    rafter = createCommandLine();
  });
  afterAll(async () => {
    expect(await rafter?.remove()).toEqual([]);
  });

  it('is mounted as what it was made of', async () => {
    const layout = join(rafter.dir, 'layout');
    const [blobFile] = await writeGoldenLayout('tiny-encrypted', layout);
    const mounted = join(rafter.dir, 'mounted');
    mkdirSync(mounted);
    await rafter.ok('mount', `oci:${layout}:latest`, mounted);
    try {
      const tree = await readTree(mounted);
      const files = goldenTree('tiny').filter(({ type }) => type === 'file');
      expect(files.length).toBeGreaterThan(2);
      for (const { path, sha256: digest } of files) expect(tree.get(path!)?.sha256).toBe(digest);
      const content = readFileSync(join(mounted, files[0]!.path!));
      expect(readFileSync(blobFile!).includes(content.subarray(0, 16))).toBe(false);
    } finally {
      await rafter.ok('umount', mounted);
    }
  });
});
