import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { takeApart } from '../support/nydus-layout.js';
import { startNydusd } from '../support/nydusd.js';
import { oddLayers } from '../support/odd-image.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree, type TreeField } from '../support/tree.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden');
// Asynchronous: the counting proxy of the registry lives in this process.
const run = promisify(execFile);

/** nydusd shows the time of its start where the image has time 0. */
const nydusdLimits = (_path: string, field: TreeField, expected: string, actual: string) =>
  field === 'mtime' && (expected === '0' || actual === '0');

const WAIT = { timeout: 30_000, interval: 100 };

describe.skipIf(missingPrograms('docker-registry'))('beside nydusify, with one registry', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;

  beforeAll(async () => {
    rafter = createCommandLine();
    registry = await startRegistry();
    await writeLayerImage(join(rafter.dir, 'layout'), 'source', oddLayers);
    await rafter.ok('copy', `oci:${join(rafter.dir, 'layout')}:source`, `${registry.host}/odd:source`);
  });

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  /** nydusify COMMAND with source and target; nydus-image must be in the PATH. */
  const nydusify = (program: string, [command, ...options]: string[], [source, target]: [string, string]) =>
    run(
      program,
      [
        ...[command!, '--source', source, '--target', target, '--source-insecure', '--target-insecure'],
        ...['--work-dir', join(rafter.dir, 'nydusify'), ...options],
      ],
      { env: { ...process.env, PATH: `${process.env.RAFTER_PEERS}:${process.env.PATH}` } },
    );

  it.for([
    ['defaults', []],
    ['batches', ['--batch-size', '0x10000']],
    ['small-chunks', ['--chunk-size', '0x10000']],
    ['lz4', ['--compressor', 'lz4_block']],
    ['rafs-v5', ['--fs-version', '5']],
    ['oci-ref', ['--oci-ref']],
  ] as const)('mounts what nydusify converted (%s) as nydusd does', async ([name, options], ctx) => {
    const program = peerOrSkip(ctx, 'nydusify');
    const image = `${registry.host}/odd:${name}`;
    await nydusify(program, ['convert', ...options], [`${registry.host}/odd:source`, image]);
    const layout = join(rafter.dir, 'pulled');
    await rafter.ok('copy', image, `oci:${layout}:${name}`);
    const dir = join(rafter.dir, `nydusd-${name}`);
    mkdirSync(join(dir, 'ours'), { recursive: true });
    await rafter.ok('mount', image, join(dir, 'ours'));
    const nydusd = await startNydusd(peerOrSkip(ctx, 'nydusd'), await takeApart(layout, name, dir), dir);
    try {
      const theirs = await readTree(nydusd.mountPoint);
      expect(theirs.size).toBeGreaterThan(700);
      expect(compareTrees(theirs, await readTree(join(dir, 'ours')), nydusdLimits)).toEqual([]);
    } finally {
      await nydusd.stop();
      await rafter.ok('umount', join(dir, 'ours'));
    }
  });

  it('follows a start-up profile that is attached to what nydusify converted', async (ctx) => {
    const image = `${registry.host}/odd:traced`;
    await nydusify(peerOrSkip(ctx, 'nydusify'), ['convert'], [`${registry.host}/odd:source`, image]);
    const dir = join(rafter.dir, 'traced');
    const trace = join(rafter.dir, 'nydusify.trace');
    mkdirSync(dir);
    await rafter.ok('mount', '--trace', trace, image, dir);
    await readTree(dir);
    await rafter.ok('umount', dir);
    const attached = await rafter.ok('optimize', '--attach', image, '--trace', trace, '--json');
    expect(JSON.parse(attached.stdout).profile.chunks).toBeGreaterThan(0);
    await rafter.ok('cache', 'prune', '--all');
    expect(JSON.parse((await rafter.ok('cache', 'ls', '--json')).stdout).blobs).toEqual([]);
    await rafter.ok('mount', image, dir);
    // Nobody reads anything, and nydusify's own list, the root, says nothing.
    const { chunkBytes } = JSON.parse(attached.stdout);
    await vi.waitFor(async () => {
      const { mounts } = JSON.parse((await rafter.ok('mounts', '--json')).stdout);
      expect(mounts[0].data.localBytes).toBeGreaterThanOrEqual(chunkBytes);
    }, WAIT);
    await rafter.ok('umount', dir);
  });

  it('makes what nydusify check accepts, every file compared with the source', async (ctx) => {
    const program = peerOrSkip(ctx, 'nydusify');
    const source = `${registry.host}/tiny:source`;
    const target = `${registry.host}/tiny:ours`;
    await rafter.ok('copy', `oci:${join(golden, 'oci/tiny-src')}`, source);
    await rafter.ok('convert', source, target);
    // nydusify cannot pass the option without which nydusd ends where the limit of open files cannot be raised.
    const wrapped = join(rafter.dir, 'nydusd');
    const script = `#!/bin/sh\nexec '${peerOrSkip(ctx, 'nydusd')}' "$@" --rlimit-nofile 0\n`;
    writeFileSync(wrapped, script, { mode: 0o755 });
    const { stdout, stderr } = await nydusify(program, ['check', '--nydusd', wrapped], [source, target]);
    expect(stdout + stderr).toMatch(/verified/i);
  });
});
