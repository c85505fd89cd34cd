import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LayoutSource } from '../../src/image/layout-source.js';
import { isStartupLayer } from '../../src/image/startup-layer.js';
import { openImage } from '../../src/inspect/open-image.js';
import { makeSmallRootfs } from '../run/small-rootfs.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';

const missing = process.geteuid?.() === 0 ? missingPrograms('runc', 'tar') : 'needs root';
let cli: CommandLine;
let layout: string;

beforeAll(async () => {
  if (missing) return;
  cli = createCommandLine();
  layout = join(cli.dir, 'images');
  const root = join(cli.dir, 'root');
  mkdirSync(root);
  makeSmallRootfs(root);
  const tar = join(cli.dir, 'layer.tar.gz');
  execFileSync('tar', ['-C', root, '-czf', tar, '.']);
  await writeLayerImage(layout, 'ordinary', [tar]);
  await cli.ok('convert', '--quiet', `oci:${layout}:ordinary`, `oci:${layout}:lazy`);
});
afterAll(async () => {
  if (!missing) expect(await cli.remove()).toEqual([]);
}, 120_000);

const packOf = async (tag: string) =>
  (await openImage(new LayoutSource({ transport: 'oci', path: layout, tag }))).manifest.layers.find(
    isStartupLayer,
  );

it('learns until a line, ends the container, and the image that is written runs', async (ctx) => {
  if (missing) ctx.skip(missing);
  const script = 'trap exit TERM; echo up; sleep 1000 & wait';
  const image = `oci:${layout}:lazy`;
  const flags = ['--learn', `oci:${layout}:fast`, '--until', 'up'];
  const learned = await cli.ok('run', ...flags, image, '--', 'sh', '-c', script);
  expect(learned.stdout).toMatch(/^up\n.*start-up pack of/s);
  expect((await packOf('fast'))!.size).toBeGreaterThan(10_000);
  expect((await cli.ok('run', `oci:${layout}:fast`, '--', 'cat', '/data/from-image')).stdout).toBe('image\n');
});

it('writes nothing if the container ends before, or is no success', async (ctx) => {
  if (missing) ctx.skip(missing);
  const image = `oci:${layout}:lazy`;
  const learn = ['run', '--learn', `oci:${layout}:none`];
  const early = await cli.run(...learn, '--until', 'never said', image, '--', 'sh', '-c', 'echo up');
  expect(early).toMatchObject({ code: 125, stderr: expect.stringContaining('before its start was over') });
  const failed = await cli.run(...learn, image, '--', 'sh', '-c', 'exit 3');
  expect(failed).toMatchObject({ code: 125, stderr: expect.stringContaining('exit code 3') });
  await expect(packOf('none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect((await cli.run('run', '--until', '1s', image)).stderr).toContain('--until is for --learn');
});
