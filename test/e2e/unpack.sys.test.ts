import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { oddLayers, umociLimits } from '../support/odd-image.js';
import { missingPrograms } from '../support/programs.js';
import { compareTrees, readTree } from '../support/tree.js';

describe.skipIf(process.getuid?.() !== 0 ? 'needs root' : undefined)('unpacking to a directory', () => {
  let rafter: CommandLine;
  let image: string;

  beforeAll(async () => {
    rafter = createCommandLine();
    const layout = join(rafter.dir, 'layout');
    await writeLayerImage(layout, 'source', oddLayers);
    await rafter.ok('convert', `oci:${layout}:source`, `oci:${layout}:nydus`);
    image = `oci:${layout}:nydus`;
  });

  afterAll(async () => {
    expect(await rafter?.remove()).toEqual([]);
  });

  it('gives the tree that umoci unpacks from the source', async (ctx) => {
    const missing = missingPrograms('umoci');
    if (missing) return ctx.skip(missing);
    const bundle = join(rafter.dir, 'bundle');
    execFileSync('umoci', ['unpack', '--image', `${join(rafter.dir, 'layout')}:source`, bundle], {
      stdio: 'pipe',
    });
    const target = join(rafter.dir, 'tree');
    const { stdout } = await rafter.ok('unpack', '--json', image, target);
    const tree = await readTree(target);
    expect(JSON.parse(stdout)).toMatchObject({ directory: target, names: tree.size });
    expect(compareTrees(await readTree(join(bundle, 'rootfs')), tree, umociLimits)).toEqual([]);
    expect([...tree.values()].filter(({ type }) => type === 'char').length).toBeGreaterThan(0);
  });

  it('gives the tree that a mount shows, with every attribute', async () => {
    const mounted = join(rafter.dir, 'mnt');
    mkdirSync(mounted);
    await rafter.ok('mount', image, mounted);
    const target = join(rafter.dir, 'tree2');
    await rafter.ok('unpack', image, target);
    const differences = compareTrees(
      await readTree(mounted),
      await readTree(target),
      // ext4 keeps 34 bits of seconds, other file systems fewer.
      (_path, field, expected) => field === 'mtime' && Math.abs(Number(expected)) > 2 ** 31 * 1e9,
    );
    await rafter.ok('umount', mounted);
    expect(differences).toEqual([]);
  });

  it('takes an empty directory, and leaves one with something in it or a symlink alone', async () => {
    const empty = join(rafter.dir, 'empty');
    mkdirSync(empty);
    await rafter.ok('unpack', image, empty);
    expect(readdirSync(empty).length).toBeGreaterThan(3);
    const before = readdirSync(empty);
    expect(await rafter.run('unpack', image, empty)).toMatchObject({ code: 2, stdout: '' });
    expect(readdirSync(empty)).toEqual(before);
    const elsewhere = join(rafter.dir, 'elsewhere');
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, join(rafter.dir, 'link'));
    expect(await rafter.run('unpack', image, join(rafter.dir, 'link'))).toMatchObject({ code: 2 });
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it('leaves nothing when the image is damaged or it is interrupted', async () => {
    const layout = join(rafter.dir, 'damaged');
    await rafter.ok('copy', image, `oci:${layout}:x`);
    const { layers } = JSON.parse((await rafter.ok('inspect', '--raw', `oci:${layout}:x`)).stdout);
    const file = join(layout, 'blobs/sha256', layers[0].digest.slice('sha256:'.length));
    const bytes = readFileSync(file);
    bytes.fill(7, bytes.length >> 2, bytes.length >> 1);
    writeFileSync(file, bytes);
    const before = readdirSync(rafter.dir).sort();
    const target = join(rafter.dir, 'never');
    const result = await rafter.run('unpack', `oci:${layout}:x`, target);
    expect(result).toMatchObject({ code: 5, stdout: '' });
    expect(result.stderr).toMatch(/rafter: \/.*is damaged/);
    const child = rafter.start('unpack', image, target);
    const ended = new Promise((resolve) => child.once('close', resolve));
    while (!readdirSync(rafter.dir).some((name) => name.startsWith('.never.')) && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill('SIGTERM');
    await ended;
    if (child.exitCode === 130) expect(existsSync(target)).toBe(false);
    expect(
      readdirSync(rafter.dir)
        .filter((name) => name !== 'never')
        .sort(),
    ).toEqual(before);
  });
});
