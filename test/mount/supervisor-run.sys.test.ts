import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { daemonStatus } from '../../src/mount/client/client.js';
import { makeSmallRootfs } from '../run/small-rootfs.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';
import { createPlace, ended, type TestPlace } from './daemon-process.js';

const rafter = resolve(import.meta.dirname, '../../bin/rafter');
const directory = mkdtempSync(join(tmpdir(), 'rafter-run-kill-'));
const image = `oci:${join(directory, 'image')}:latest`;
const content = randomBytes(4 << 20);
let place: TestPlace;

beforeAll(async () => {
  place = createPlace({ supervised: true });
  const root = makeSmallRootfs(join(directory, 'root'));
  writeFileSync(join(root, 'data/large'), content);
  const layer = join(directory, 'layer.tar');
  execFileSync('tar', ['-C', root, '-cf', layer, '.']);
  await writeLayerImage(join(directory, 'plain'), 'latest', [layer]);
  const directories = ['--data-root', place.dataRoot, '--run-dir', place.runDir, '--quiet'];
  execFileSync(rafter, ['convert', `oci:${join(directory, 'plain')}:latest`, image, ...directories]);
});
afterAll(async () => {
  await place.remove();
  await rm(directory, { recursive: true, force: true });
});

it.skipIf(missingPrograms('runc'))(
  'a container goes on when the daemon of its image is killed: reads wait, and succeed',
  async () => {
    const command = ['sh', '-c', 'echo up; read line; cat /data/large'];
    const directories = ['--data-root', place.dataRoot, '--run-dir', place.runDir];
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
