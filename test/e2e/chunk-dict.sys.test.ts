import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { takeApart } from '../support/nydus-layout.js';
import { startNydusd } from '../support/nydusd.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree, type TreeField } from '../support/tree.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden/in');
// Asynchronous: the counting proxy of the registry lives in this process.
const run = promisify(execFile);

/** nydusd shows the time of its start where the image has time 0. */
const nydusdLimits = (_path: string, field: TreeField, expected: string, actual: string) =>
  field === 'mtime' && (expected === '0' || actual === '0');

/** `twin` is `small` and one file more. */
const versions = ['small', 'twin'];

describe.skipIf(missingPrograms('docker-registry'))('an image converted with a chunk dictionary', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;
  const image = (name: string) => `${registry.host}/${name}`;

  beforeAll(async () => {
    rafter = createCommandLine();
    registry = await startRegistry();
    for (const name of versions) {
      await writeLayerImage(join(rafter.dir, 'layout'), name, [join(golden, `${name}.tar.gz`)]);
      await rafter.ok('copy', `oci:${join(rafter.dir, 'layout')}:${name}`, image(`app:${name}`));
    }
  });

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  /** Converts `twin` with the image `dictionary`; the summary, and what was sent. */
  async function convertTwin(dictionary: string, target: string) {
    registry.requests.length = 0;
    const { stdout } = await rafter.ok(
      ...['convert', '--json', '--chunk-dict', dictionary, image('app:twin'), target],
    );
    const received = registry.requests.reduce((sum, request) => sum + request.received, 0);
    return { summary: JSON.parse(stdout), received };
  }

  /** Mounts in nydusd and in rafter, and compares every name, attribute and byte of both with the source's image. */
  async function expectMountable(name: string, program: string): Promise<void> {
    const dir = join(rafter.dir, name.replace(':', '-'));
    mkdirSync(join(dir, 'plain'), { recursive: true });
    mkdirSync(join(dir, 'ours'));
    await rafter.ok('copy', image(name), `oci:${join(dir, 'pulled')}:x`);
    await rafter.ok('mount', image('app:twin-plain'), join(dir, 'plain'));
    await rafter.ok('mount', image(name), join(dir, 'ours'));
    const nydusd = await startNydusd(program, await takeApart(join(dir, 'pulled'), 'x', dir), dir);
    try {
      const plain = await readTree(join(dir, 'plain'));
      expect(plain.size).toBeGreaterThan(20);
      expect(compareTrees(plain, await readTree(join(dir, 'ours')))).toEqual([]);
      expect(compareTrees(plain, await readTree(nydusd.mountPoint), nydusdLimits)).toEqual([]);
    } finally {
      await nydusd.stop();
      await rafter.ok('umount', join(dir, 'plain'));
      await rafter.ok('umount', join(dir, 'ours'));
    }
  }

  it('has only what is new in a blob of its own, and every byte of its source', async () => {
    await rafter.ok('convert', image('app:small'), image('app:small-nydus'));
    await rafter.ok('convert', image('app:twin'), image('app:twin-plain'));
    const { summary, received } = await convertTwin(image('app:small-nydus'), image('app:twin-nydus'));
    expect(summary.layers[0]).toMatchObject({ chunks: 1 });
    expect(summary.dictionary).toMatchObject({ blobs: 1, copiedBytes: 0 });
    expect(summary.dictionary.chunks).toBeGreaterThan(5);
    expect(received).toBeLessThan(20_000);
    await rafter.ok('check', '--source', image('app:twin'), image('app:twin-nydus'));
  });

  it("has the dictionary's blobs in its own repository, without their being sent", async () => {
    const { summary, received } = await convertTwin(image('app:small-nydus'), image('other:twin-nydus'));
    expect(summary.dictionary.copiedBytes).toBe(0);
    expect(received).toBeLessThan(20_000);
    await rafter.ok('check', '--source', image('app:twin'), image('other:twin-nydus'));
  });

  it('brings the blobs along to a layout', async () => {
    const layout = `oci:${join(rafter.dir, 'target')}:twin`;
    const { summary } = await convertTwin(image('app:small-nydus'), layout);
    expect(summary.dictionary.copiedBytes).toBe(summary.dictionary.blobBytes);
    await rafter.ok('check', '--source', image('app:twin'), layout);
    const text = await rafter.ok(
      ...['convert', '--chunk-dict', layout, image('app:twin'), `oci:${join(rafter.dir, 'target')}:again`],
    );
    expect(text.stdout).toMatch(
      /, besides 2 blobs of the chunk dictionary \(.+\), which have \d+ of its chunks \(.+ unpacked\)/,
    );
  });

  it('is accepted and mounted by nydus-image and nydusd', async (ctx) => {
    const [check, nydusd] = [peerOrSkip(ctx, 'nydus-image'), peerOrSkip(ctx, 'nydusd')];
    await expectMountable('app:twin-nydus', nydusd);
    execFileSync(check, ['check', '--bootstrap', join(rafter.dir, 'app-twin-nydus/image.boot')], {
      stdio: 'pipe',
    });
  });

  it.for([
    ['lz4', ['--compressor', 'lz4_block']],
    ['batches', ['--batch-size', '0x10000']],
  ] as const)('may use one of nydusify (%s)', async ([name, options], ctx) => {
    const [nydusify, nydusd] = [peerOrSkip(ctx, 'nydusify'), peerOrSkip(ctx, 'nydusd')];
    const env = { ...process.env, PATH: `${process.env.RAFTER_PEERS}:${process.env.PATH}` };
    const insecure = ['--source-insecure', '--target-insecure'];
    const work = ['--work-dir', join(rafter.dir, 'nydusify')];
    const dictionary = image(`app:small-${name}`);
    await run(
      nydusify,
      ['convert', ...insecure, ...work, ...options, '--source', image('app:small'), '--target', dictionary],
      { env },
    );
    const target = `app:twin-${name}`;
    const { summary } = await convertTwin(dictionary, image(target));
    expect(summary.layers[0].chunks).toBe(1);
    await rafter.ok('check', '--source', image('app:twin'), image(target));
    await expectMountable(target, nydusd);
    const wrapped = join(rafter.dir, 'nydusd');
    // nydusify cannot pass the option without which nydusd ends where the limit of open files cannot be raised.
    writeFileSync(wrapped, `#!/bin/sh\nexec '${nydusd}' "$@" --rlimit-nofile 0\n`, { mode: 0o755 });
    const { stdout, stderr } = await run(
      nydusify,
      [
        'check',
        ...insecure,
        ...work,
        '--nydusd',
        wrapped,
        '--source',
        image('app:twin'),
        '--target',
        image(target),
      ],
      { env },
    );
    expect(stdout + stderr).toMatch(/verified/i);
  });
});
