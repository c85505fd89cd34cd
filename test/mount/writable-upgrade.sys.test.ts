import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { daemonStatus, mountImage, unmountImage, upgradeDaemon } from '../../src/mount/client/client.js';
import { convertLayout, makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { createPlace, type TestPlace } from './daemon-process.js';

const files = Array.from({ length: 200 }, (_, i) => ({ name: `file${i}`, data: randomBytes(1 + 500 * i) }));

let place: TestPlace;
beforeEach((ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('needs root');
  place = createPlace({ supervised: true });
});
afterEach(() => place?.remove());

it.each(['erofs', 'fuse'] as const)(
  'a writer notices nothing while the daemon is upgraded, and all that it wrote is kept: %s',
  async (driver) => {
    const tree = join(place.dir, 'tree');
    mkdirSync(tree);
    for (const { name, data } of files) writeFileSync(join(tree, name), data);
    const { dir } = await convertLayout(makeLayout([makeTar(files)]));
    const mountpoint = await place.mountpoint('m');
    const writable = { directory: join(place.dir, 'kept') };
    const request = { reference: `oci:${dir}:out`, platform: 'linux/amd64', mountpoint, driver, writable };
    const { id } = await mountImage(place, request);

    const program = resolve(import.meta.dirname, 'writer.mjs');
    const writer = spawn(process.execPath, [program, mountpoint, tree, '4711'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const output = text(writer.stdout);
    await once(writer.stdout, 'data');
    const { pid } = (await daemonStatus(place))!;
    const after = await upgradeDaemon(place, [...place.command]);
    expect(after).toMatchObject({ startReason: 'upgrade', mounts: 1 });
    expect(after.pid).not.toBe(pid);
    writer.stdin.end();
    const { files: sums, ...counts } = JSON.parse(await output);
    expect(counts.wrong).toEqual([]);
    expect(counts.changes).toBeGreaterThan(20);

    await unmountImage(place, { id });
    await mountImage(place, request);
    const names = readdirSync(mountpoint);
    const found = names.map((name) => [name, readFileSync(join(mountpoint, name))] as const);
    const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(Object.fromEntries(found.map(([name, bytes]) => [name, sum(bytes)]))).toEqual(sums);
  },
);
