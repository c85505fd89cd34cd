import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { missingPrograms } from '../support/programs.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden/oci');
/** A shell would make the file `pwned` of each of these. */
const NAME = `a;>pwned;$(>pwned)\`>pwned\`'"&>pwned|>pwned\\`;

let cli: CommandLine;
beforeAll(() => {
  cli = createCommandLine();
});
afterAll(async () => expect(await cli.remove()).toEqual([]));

const planted = () => [cli.dir, process.cwd()].filter((place) => existsSync(join(place, 'pwned')));

it('names full of characters of the shell are names', async () => {
  const place = join(cli.dir, NAME);
  mkdirSync(place);
  await cli.ok('convert', '--no-cache', `oci:${golden}/tiny-src`, `oci:${place}/image`);
  const { stdout } = await cli.ok('check', `oci:${place}/image`);
  expect(stdout).toContain('good');
  await cli.ok('export', `oci:${place}/image`, `oci-archive:${place}/out.tar`);
  expect(readdirSync(place).sort()).toEqual(['image', 'out.tar']);
  expect(planted()).toEqual([]);
});

it('so they are to mount and to programs that are started', async (ctx) => {
  const missing = process.geteuid?.() === 0 ? missingPrograms('runc') : 'needs root';
  if (missing !== undefined) ctx.skip(missing);
  const place = join(cli.dir, NAME, 'mnt');
  mkdirSync(place, { recursive: true });
  await cli.ok('mount', `oci:${golden}/tiny-nydus`, place);
  expect(readdirSync(place)).toContain('etc');
  await cli.ok('umount', place);
  const ran = await cli.run(
    'run',
    ...['--net', 'none', '-e', `X=${NAME}`, '-w', `/${NAME}`, '-v', `${place}:/${NAME}`],
    ...['--entrypoint', NAME, `oci:${golden}/tiny-nydus`, NAME],
  );
  // There is no such program in the image.
  expect(ran.code, ran.stderr).toBe(127);
  expect(planted()).toEqual([]);
});
