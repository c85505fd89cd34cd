import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as v from 'valibot';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { ERROR_SCHEMA, OUTPUT_SCHEMAS } from '../../src/cli/json/schemas.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { runInProcess } from '../support/in-process.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden/oci');
const plain = `oci:${golden}/tiny-src`;
const isRoot = process.geteuid?.() === 0;

let cli: CommandLine;
let lazy: string;
beforeAll(() => {
  cli = createCommandLine();
  vi.stubEnv('RAFTER_DATA_ROOT', join(cli.dir, 'data'));
  vi.stubEnv('RAFTER_RUN_DIR', join(cli.dir, 'run'));
  vi.stubEnv('RAFTER_CONFIG', '/dev/null');
  lazy = `oci:${cli.dir}/images:lazy`;
});
afterAll(async () => {
  vi.unstubAllEnvs();
  expect(await cli.remove()).toEqual([]);
});

type Name = keyof typeof OUTPUT_SCHEMAS;

/** Runs `rafter ARGS --json` in this process, which is much quicker than one of its own. */
const run = (args: string[]) => runInProcess([...args, '--json']);

/** Runs a command: every line on stdout has the form that is documented for `name`. */
async function check(name: Name, args: string[], code = 0): Promise<unknown> {
  const { stdout, stderr, code: ended } = await run(args);
  expect({ ended, stderr: ended === code ? '' : stderr }).toEqual({ ended: code, stderr: '' });
  const lines = stdout.split('\n').filter((line) => line !== '');
  expect(lines.length).toBeGreaterThan(0);
  const values = lines.map(
    (line) => v.parse(v.object({}), JSON.parse(line)) && (JSON.parse(line) as unknown),
  );
  for (const value of values) {
    const checked = v.safeParse(OUTPUT_SCHEMAS[name] as v.GenericSchema, value);
    expect(checked.issues?.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`)).toBeUndefined();
  }
  return values[0];
}

it('of images', async () => {
  await check('convert', ['convert', plain, lazy]);
  await check('check', ['check', lazy, '--source', plain]);
  await check('copy', ['copy', lazy, `oci:${cli.dir}/copied:lazy`]);
  await check('export', ['export', lazy, `oci:${cli.dir}/exported:x`]);
  await check('inspect', ['inspect', lazy]);
  await check('inspect', ['inspect', plain]);
  await check('inspect', ['inspect', `oci:${golden}/tiny-both`]);
  await check('ls', ['ls', '-R', lazy]);
  await check('diff', ['diff', plain, lazy]);
  await check('doctor', ['doctor']).catch(() => check('doctor', ['doctor'], 6));
  await check('config show', ['config', 'show']);
});

it('of mounts', async (ctx) => {
  if (!isRoot || !existsSync('/dev/fuse')) ctx.skip('needs root and /dev/fuse');
  const dir = join(cli.dir, 'mnt');
  mkdirSync(dir);
  await check('mount', ['mount', lazy, dir]);
  await check('mounts', ['mounts']);
  await check('daemon status', ['daemon', 'status']);
  await check('cache pin', ['cache', 'pin', lazy]);
  await check('cache unpin', ['cache', 'unpin', lazy]);
  await check('cache ls', ['cache', 'ls']);
  await check('cache verify', ['cache', 'verify']);
  await check('umount', ['umount', dir]);
  await check('cache prune', ['cache', 'prune', '--all']);
  await check('daemon upgrade', ['daemon', 'upgrade']);
  await check('daemon stop', ['daemon', 'stop']);
  await check('unpack', ['unpack', lazy, join(cli.dir, 'tree')]);
});

it('of registries', async (ctx) => {
  const missing = missingPrograms('docker-registry');
  if (missing !== undefined) ctx.skip(missing);
  let registry: TestRegistry | undefined;
  try {
    registry = await startRegistry();
    await check('doctor', ['doctor', `${registry.host}/try`]);
    const copied = await check('copy', ['copy', plain, `${registry.host}/x:1`]);
    await check('delete', ['delete', `${registry.host}/x@${(copied as { digest: string }).digest}`]);
  } finally {
    await registry?.stop();
  }
});

it('of failures, on stderr', async () => {
  const { code, stdout, stderr } = await run(['inspect', 'oci:/nowhere']);
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  expect(v.is(ERROR_SCHEMA, JSON.parse(stderr))).toBe(true);
});
