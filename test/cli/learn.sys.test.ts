import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
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

it('a run is recorded, and traces of several make one image, wherever they are named', async (ctx) => {
  if (missing) ctx.skip(missing);
  const image = `oci:${layout}:lazy`;
  const [cat, list] = [join(cli.dir, 'cat.trace'), join(cli.dir, 'list.trace')];
  await cli.ok('run', '--trace', cat, image, '--', 'cat', '/data/from-image');
  await cli.ok('run', '--trace', list, image, '--', 'sh', '-c', 'echo /data/*');
  const shown = JSON.parse((await cli.ok('trace', 'show', '--json', cat)).stdout);
  expect(shown).toMatchObject({ reference: image, command: ['cat', '/data/from-image'] });
  expect(shown.files.map(({ path }: { path: string }) => path)).toContain('/data/from-image');
  expect(shown.touchedBytes).toBeGreaterThan(0);
  await cli.ok('optimize', '--trace', cat, '--trace', list, image, `oci:${layout}:both`);
  expect((await packOf('both'))!.size).toBeGreaterThan(10_000);
  const [again, page] = [join(cli.dir, 'again.trace'), join(cli.dir, 'again.html')];
  await cli.ok('run', '--trace', again, `oci:${layout}:both`, '--', 'cat', '/data/from-image');
  const { pack } = JSON.parse((await cli.ok('trace', 'show', '--html', page, '--json', again)).stdout);
  expect(pack.bytes).toBeGreaterThan(pack.unreadBytes);
  expect(readFileSync(page, 'utf8')).toContain('in the start-up pack and never read');
  // The run that the pack was made of had none.
  expect(shown.pack).toBeUndefined();
});

it('tells where the time of a start went', async (ctx) => {
  if (missing) ctx.skip(missing);
  const image = `oci:${layout}:lazy`;
  const command = ['sh', '-c', 'echo up'];
  const { stdout, stderr } = await cli.ok('run', '--timing', '--json', image, '--', ...command);
  expect(stdout).toBe('up\n');
  const { steps } = JSON.parse(stderr.trim().split('\n').at(-1)!);
  const names = steps.map(({ name }: { name: string }) => name);
  expect(names[0]).toBe('start the command');
  expect(names).toEqual(expect.arrayContaining(['manifest', 'mount', 'prepare the container']));
  expect(names.at(-1)).toBe('container until its first line');
  const table = await cli.ok('run', '--timing', image, '--', ...command);
  expect(table.stderr).toMatch(/^ +AT +MS +STEP\n( +\d+ +\d+ {2}.+\n)+$/);
});
