import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree, type TreeField } from '../support/tree.js';

const root = resolve(import.meta.dirname, '../..');
const images = join(root, '.cache/images');
const missing = missingPrograms('docker-registry', 'runc', 'umoci', 'mmdebstrap');

/** umoci gives the root, which no layer lists, the time of unpacking. */
const umociLimits = (path: string, field: TreeField) => path === '/' && field === 'mtime';

/** The reason for this program, on a real image: it must never break. */
describe.skipIf(missing)('an image of Debian packages, from layout to running container', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;
  let image: string;
  /** Bytes of the image that was converted. */
  let imageBytes: number;
  /** What every mount must show. */
  let expected: Awaited<ReturnType<typeof readTree>>;

  beforeAll(async () => {
    execFileSync(join(root, 'fixtures/images/build-python'), [images], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    rafter = createCommandLine();
    registry = await startRegistry();
    image = `${registry.host}/python:nydus`;
  }, 600_000);

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  const bytesOfLayers = () =>
    registry.requests
      .filter(({ path }) => path.includes('/blobs/'))
      .reduce((sum, { bytes }) => sum + bytes, 0);
  const takeRequests = () => registry.requests.splice(0);

  it('converts straight into a registry, no larger than it was', async () => {
    const { stdout } = await rafter.ok('convert', '--json', `oci:${images}:python`, image);
    const summary = JSON.parse(stdout);
    expect(summary.target.bytes).toBeLessThan(summary.source.bytes);
    expect(summary.target.digest).toMatch(/^sha256:/);
    imageBytes = summary.target.bytes;
  });

  it('runs it: the application starts, and less than half of the image was fetched', async () => {
    takeRequests();
    const { stdout } = await rafter.ok('run', image);
    expect(stdout).toMatch(/^ready /);
    const fetched = bytesOfLayers();
    expect(fetched).toBeGreaterThan(0);
    expect(fetched).toBeLessThan(imageBytes / 2);
  });

  it('needs nothing but manifest, configuration and bootstrap to mount', async () => {
    const place = join(rafter.dir, 'mnt');
    mkdirSync(place);
    await rafter.ok('daemon', 'stop');
    // Another data root, so that nothing is known of the image.
    takeRequests();
    const { stdout } = await rafter.ok(
      'mount',
      '--json',
      // What comes behind them is for the start.
      '--no-prefetch',
      image,
      place,
      '--data-root',
      join(rafter.dir, 'data2'),
    );
    const mounted = JSON.parse(stdout);
    const gets = takeRequests().filter(({ method }) => method === 'GET');
    const sent = gets.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(gets.every(({ range }) => range === undefined)).toBe(true);
    expect(sent).toBe(mounted.metadataBytes);
    expect(sent).toBeLessThan(mounted.imageSize * 0.03);
    const { stdout: text } = await rafter.ok('mounts', '--json', '--data-root', join(rafter.dir, 'data2'));
    expect(JSON.parse(text).mounts).toMatchObject([{ mountpoint: place, digest: mounted.digest }]);
  });

  it('serves the tree that umoci unpacks from the source, attribute by attribute and byte by byte', async () => {
    const bundle = join(rafter.dir, 'bundle');
    execFileSync('umoci', ['unpack', '--image', `${images}:python`, bundle], { stdio: 'pipe' });
    expected = await readTree(join(bundle, 'rootfs'));
    expect(compareTrees(expected, await readTree(join(rafter.dir, 'mnt')), umociLimits)).toEqual([]);
    expect(registry.requests.every(({ method, range }) => method === 'GET' && range !== undefined)).toBe(
      true,
    );
  }, 300_000);

  it('mounts again and runs from the cache with the registry gone', async () => {
    await registry.pause();
    try {
      const options = ['--data-root', join(rafter.dir, 'data2')];
      const place = join(rafter.dir, 'mnt');
      await rafter.ok('umount', place, ...options);
      await rafter.ok('daemon', 'stop', ...options);
      const { stderr } = await rafter.ok('mount', image, place, ...options);
      expect(stderr).toMatch(/warning: .*last/i);
      expect(compareTrees(expected, await readTree(place), umociLimits)).toEqual([]);
      const { stdout } = await rafter.ok('run', ...options, image);
      expect(stdout).toMatch(/^ready /);
      await rafter.ok('umount', place, ...options);
      await rafter.ok('daemon', 'stop', ...options);
    } finally {
      await registry.resume();
    }
  }, 300_000);

  it("gives the container's exit code, and 127 for a command that is not there", async () => {
    const shell = ['run', '--entrypoint', 'sh', image, '-c'];
    expect(await rafter.run(...shell, 'exit 42')).toMatchObject({ code: 42 });
    expect(await rafter.run('run', '--entrypoint', 'nonesuch', image)).toMatchObject({ code: 127 });
  });

  it('hands SIGTERM to the container and leaves nothing', async () => {
    const child = rafter.start(
      'run',
      '--entrypoint',
      'sh',
      image,
      '-c',
      "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done",
    );
    await once(child.stdout!, 'data');
    child.kill('SIGTERM');
    const [code] = (await once(child, 'close')) as [number | null];
    expect(code).toBe(7);
    expect(await rafter.ok('mounts', '--json')).toMatchObject({ stdout: '{"mounts":[]}\n' });
  });

  it('takes away what a run has left that was killed, whether it had its lock yet or not', async () => {
    const images = join(rafter.dir, 'run/images');
    for (const hadLock of [true, false]) {
      const child = rafter.start('run', '--entrypoint', 'sh', image, '-c', 'echo up; exec sleep 600');
      await once(child.stdout!, 'data');
      child.kill('SIGKILL');
      await once(child, 'exit');
      const lock = readdirSync(images).find((name) => name.endsWith('.lock'))!;
      const unlocked = join(images, lock.replace('.lock', '.new'));
      if (!hadLock) renameSync(join(images, lock), unlocked);
      if (!hadLock) utimesSync(unlocked, 0, 0);
      // That one may just be taking its lock.
      writeFileSync(join(images, 'other.new'), '');
      await rafter.ok('run', '--entrypoint', 'true', image);
      expect(readdirSync(images)).toEqual(['other.new']);
      rmSync(join(images, 'other.new'));
      expect(await rafter.ok('mounts', '--json')).toMatchObject({ stdout: '{"mounts":[]}\n' });
    }
  });
});
