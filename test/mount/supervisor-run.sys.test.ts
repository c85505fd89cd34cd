import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { daemonStatus, listMounts } from '../../src/mount/client/client.js';
import { isKernelAtLeast } from '../../src/os/kernel.js';
import { readMounts } from '../../src/os/mountinfo.js';
import { makeSmallRootfs } from '../run/small-rootfs.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';
import { createPlace, ended, type TestPlace } from './daemon-process.js';

const rafter = resolve(import.meta.dirname, '../../bin/rafter');
const directory = mkdtempSync(join(tmpdir(), 'rafter-run-kill-'));
const image = `oci:${join(directory, 'image')}:latest`;
const root = join(directory, 'root');
const content = randomBytes(4 << 20);
let place: TestPlace;
let directories: string[];

beforeAll(async () => {
  place = createPlace({ supervised: true });
  directories = ['--data-root', place.dataRoot, '--run-dir', place.runDir];
  makeSmallRootfs(root);
  await makeImage(content);
});
afterAll(async () => {
  await place.remove();
  await rm(directory, { recursive: true, force: true });
});

/** Makes the image, or another one under the same tag, with `large` in it. */
async function makeImage(large: Buffer): Promise<void> {
  writeFileSync(join(root, 'data/large'), large);
  const layer = join(directory, 'layer.tar');
  execFileSync('tar', ['-C', root, '-cf', layer, '.']);
  await writeLayerImage(join(directory, 'plain'), 'latest', [layer]);
  const plain = `oci:${join(directory, 'plain')}:latest`;
  execFileSync(rafter, ['convert', plain, image, ...directories, '--quiet']);
}

it.skipIf(missingPrograms('runc'))(
  'a container goes on when the daemon of its image is killed: reads wait, and succeed',
  async () => {
    const command = ['sh', '-c', 'echo up; read line; cat /data/large'];
    const child = spawn(rafter, ['run', '-i', ...directories, image, ...command]);
    const exit = new Promise<number | null>((done) => child.once('exit', done));
    let complaints = '';
    child.stderr.on('data', (text) => {
      complaints += text;
    });
    const output = buffer(child.stdout);
    let started = 0;
    child.stdout.on('data', (bytes: Buffer) => {
      started += bytes.length;
    });
    await vi.waitFor(() => expect(started, complaints).toBeGreaterThan(0), { timeout: 30_000 });
    const { pid } = (await daemonStatus(place))!;
    process.kill(pid, 'SIGKILL');
    child.stdin.end('\n');
    expect(await ended(pid)).toBe(true);
    expect(await exit, complaints).toBe(0);
    expect((await output).equals(Buffer.concat([Buffer.from('up\n'), content]))).toBe(true);
    expect((await daemonStatus(place))!.startReason).toBe('restart');
  },
);

it.skipIf(missingPrograms('runc') || !isKernelAtLeast(6, 12))(
  'what a run had mounted is kept for the next one, seen by nobody, until somebody wants it away',
  async () => {
    const run = (...command: string[]) => {
      const options = [...directories, '--no-prefetch', '--timing', '--json', image];
      const { stdout, stderr, status } = spawnSync(rafter, ['run', ...options, ...command], {
        maxBuffer: 2 * content.length,
      });
      expect(status, stderr.toString()).toBe(0);
      const { steps } = JSON.parse(stderr.toString()) as { steps: { name: string }[] };
      return { stdout, isAgain: !steps.some(({ name }) => name === 'open the cache') };
    };
    const kept = async () => (await daemonStatus(place))?.kept;
    const images = async () =>
      (await readMounts())
        .filter(({ type }) => type === 'erofs')
        .map(({ mountPoint }) => mountPoint)
        .filter((path) => path.startsWith(`${place.dir}/`));

    expect(run('cat', '/data/large').stdout.equals(content)).toBe(true);
    expect([await kept(), await listMounts(place), await images()]).toEqual([1, [], []]);
    const again = run('cat', '/data/large');
    expect([again.isAgain, again.stdout.equals(content)]).toEqual([true, true]);

    const other = randomBytes(1 << 20);
    await makeImage(other);
    const changed = run('cat', '/data/large');
    expect([changed.isAgain, changed.stdout.equals(other)]).toEqual([false, true]);

    expect(await kept()).toBe(1);
    execFileSync(rafter, ['cache', 'prune', '--all', ...directories, '--quiet']);
    expect(await kept()).toBe(0);
    expect(run('cat', '/data/large').isAgain).toBe(false);

    expect(await kept()).toBe(1);
    const { pid } = (await daemonStatus(place))!;
    process.kill(pid, 'SIGKILL');
    expect(await ended(pid)).toBe(true);
    expect([await kept(), await images()]).toEqual([0, []]);
    const afterwards = run('cat', '/data/large');
    expect([afterwards.isAgain, afterwards.stdout.equals(other)]).toEqual([false, true]);
  },
);
