import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  daemonStatus,
  listMounts,
  mountImage,
  shutdownDaemon,
  unmountImage,
} from '../../../src/mount/client/client.js';
import { ensureDaemon } from '../../../src/mount/client/start-daemon.js';
import { MAX_BODY } from '../../../src/mount/daemon/api-server.js';
import { findMount, readMounts } from '../../../src/os/mountinfo.js';
import { goldenTree } from '../../rafs/golden.js';
import { compareTrees, readTree } from '../../support/tree.js';
import { createPlace, ended, type TestPlace } from '../daemon-process.js';
import { golden } from '../golden.js';
import { expectedTree } from '../golden-tree.js';
import { writeGoldenLayout } from '../layouts.js';

let place: TestPlace;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

const layoutOf = (name: string) => `oci:${join(golden, 'oci', name)}`;
const mountTiny = async (name = 'm') =>
  mountImage(place, {
    reference: layoutOf('tiny-nydus'),
    mountpoint: await place.mountpoint(name),
    platform: 'linux/amd64',
  });

/** The golden image `full`, mounted from a layout whose blob files the test can take away. */
async function mountFull(name = 'full', how: Partial<How> = {}) {
  const layout = join(place.dir, 'layout');
  const blobs = existsSync(layout)
    ? (await readdir(join(layout, 'blobs/sha256'))).map((file) => join(layout, 'blobs/sha256', file))
    : await writeGoldenLayout('full', layout);
  const mounted = await mountImage(place, {
    reference: `oci:${layout}:latest`,
    mountpoint: await place.mountpoint(name),
    ...how,
  });
  return { mounted, blobs };
}
const bigFile = () => goldenTree('full').find(({ size, type }) => type === 'file' && size! > 3_000_000)!;
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Takes every request and answers none. `asked` settles with the first. */
async function startSilentRegistry() {
  const server = createServer();
  const asked = once(server, 'request');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked, stop };
}

/** Every way to serve a tree, and how it is asked for. */
const ways = [
  { way: 'erofs', how: { driver: 'erofs' } },
  { way: 'fuse through /dev/fuse', how: { driver: 'fuse', transport: 'device' } },
  { way: 'fuse through libfuse', how: { driver: 'fuse', transport: 'libfuse' } },
] as const;
type How = (typeof ways)[number]['how'];

describe.each(ways)('a mounted image, by $way', ({ how }) => {
  it('is the whole tree: every name, attribute, xattr and byte', async () => {
    const { mounted } = await mountFull('full', how);
    expect(mounted).toMatchObject(how);
    expect(compareTrees(expectedTree('full'), await readTree(mounted.mountpoint))).toEqual([]);
    const inode = async (path: string) => (await stat(join(mounted.mountpoint, path))).ino;
    expect(await inode('links/hard1')).toBe(await inode('links/sub/hard3'));
    expect(await inode('links/hard1')).not.toBe(await inode('links/hard-to-empty'));
  });

  it('has fetched nothing until it is read, and says how much it has then', async () => {
    const { mounted } = await mountFull('full', how);
    expect(mounted.stats).toEqual({
      fetchedBytes: 0,
      requests: 0,
      copiedBytes: 0,
      peerBytes: 0,
      registryBytes: 0,
    });
    expect(mounted.imageSize).toBeGreaterThan(1_000_000);
    expect(mounted.metadataBytes).toBeLessThan(mounted.imageSize / 2);
    await readTree(mounted.mountpoint, { content: false });
    expect((await listMounts(place))[0]!.stats.requests).toBe(0);
    await readFile(join(mounted.mountpoint, bigFile().path!));
    const [after] = await listMounts(place);
    expect(after!.stats.requests).toBeGreaterThan(0);
    expect(after!.stats.fetchedBytes).toBeLessThan(mounted.imageSize);
  });

  it('is served from the cache of another mount of the same image', async () => {
    const { mounted } = await mountFull('full', how);
    await readTree(mounted.mountpoint);
    const { mounted: second } = await mountFull('second', how);
    expect(second.metadataBytes).toBe(0);
    expect(compareTrees(expectedTree('full'), await readTree(second.mountpoint))).toEqual([]);
    const info = (await listMounts(place)).find(({ id }) => id === second.id);
    expect(info!.stats).toEqual({
      fetchedBytes: 0,
      requests: 0,
      copiedBytes: 0,
      peerBytes: 0,
      registryBytes: 0,
    });
  });

  it('gives sixteen readers at random offsets the bytes they asked for', async () => {
    const { mounted } = await mountFull('full', how);
    const files = goldenTree('full').filter(({ type, size }) => type === 'file' && size! > 100_000);
    const contents = new Map<string, Buffer>();
    const reader = async () => {
      for (let i = 0; i < 40; i++) {
        const { path, size } = files[randomInt(files.length)]!;
        const file = await open(join(mounted.mountpoint, path!));
        try {
          const length = randomInt(1, 200_000);
          const offset = randomInt(size!);
          const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
          reads.push({ path: path!, offset, bytes: Buffer.from(buffer.subarray(0, bytesRead)), length });
        } finally {
          await file.close();
        }
      }
    };
    const reads: { path: string; offset: number; length: number; bytes: Buffer }[] = [];
    await Promise.all(Array.from({ length: 16 }, reader));
    for (const { path, sha256: expected } of files) {
      const content = await readFile(join(mounted.mountpoint, path!));
      expect(sha256(content)).toBe(expected);
      contents.set(path!, content);
    }
    expect(reads.length).toBe(640);
    for (const { path, offset, length, bytes } of reads)
      expect(bytes.equals(contents.get(path)!.subarray(offset, offset + length))).toBe(true);
  });

  it('is EIO without a hang where its source has gone, with one log line each, and whole when it is back', async () => {
    const { mounted, blobs } = await mountFull('full', how);
    const { path, sha256: expected } = bigFile();
    for (const blob of blobs) await rename(blob, `${blob}.away`);
    const file = join(mounted.mountpoint, path!);
    await expect(readFile(file)).rejects.toMatchObject({ code: 'EIO' });
    const log = (await readFile(join(place.runDir, 'daemon.log'), 'utf8')).trim().split('\n');
    const line = log.map((text) => JSON.parse(text)).find(({ level }) => level === 'error');
    expect(line).toMatchObject({ message: 'a reader got EIO', operation: 'read' });
    if (how.driver === 'fuse') expect(line.file).toBe(file);
    expect(line.error).toMatch(/blob [0-9a-f]{64}, (chunk|decoded offset) \d+/);
    for (const blob of blobs) await rename(`${blob}.away`, blob);
    expect(sha256(await readFile(file))).toBe(expected);
  });

  it('is EIO, never wrong bytes, where the source gives damaged ones', async () => {
    const { mounted, blobs } = await mountFull('full', how);
    for (const blob of blobs) {
      const bytes = await readFile(blob);
      for (let at = 100; at < bytes.length - 10_000; at += 997) bytes[at]! ^= 0x55;
      await writeFile(blob, bytes);
    }
    await expect(readFile(join(mounted.mountpoint, bigFile().path!))).rejects.toMatchObject({ code: 'EIO' });
  });
});

describe('mounting', () => {
  it('answers with the configuration, the digest and what was downloaded', async () => {
    const mounted = await mountTiny();
    expect(mounted).toMatchObject({ driver: 'erofs', warnings: [], reference: layoutOf('tiny-nydus') });
    expect(mounted.config).toMatchObject({ os: 'linux', rootfs: { type: 'layers' } });
    const names = [...(await readTree(mounted.mountpoint)).keys()];
    expect(names.toSorted()).toEqual([
      '/',
      '/bin',
      '/bin/hello',
      '/etc',
      '/etc/conf',
      '/etc/conf.link',
      '/etc/empty',
      '/etc/noise',
    ]);
    const hello = goldenTree('tiny').find(({ path }) => path === '/bin/hello')!;
    expect(sha256(await readFile(join(mounted.mountpoint, 'bin/hello')))).toBe(hello.sha256);
  });

  it('refuses mount points that are missing, files, relative or in use, and leaves nothing', async () => {
    const mounted = await mountTiny();
    const at = (mountpoint: string) => mountImage(place, { reference: layoutOf('tiny-nydus'), mountpoint });
    await expect(at(join(place.dir, 'none'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(join(place.dir, 'none')),
      hint: expect.stringContaining('mkdir'),
    });
    await writeFile(join(place.dir, 'file'), '');
    await expect(at(join(place.dir, 'file'))).rejects.toMatchObject({ code: 'USAGE' });
    await expect(at(mounted.mountpoint)).rejects.toMatchObject({ code: 'BUSY' });
    await symlink(mounted.mountpoint, join(place.dir, 'link'));
    await expect(at(join(place.dir, 'link'))).rejects.toMatchObject({ code: 'BUSY' });
    expect((await listMounts(place)).map(({ id }) => id)).toEqual([mounted.id]);
  });

  it('lets one of two requests for one place win', async () => {
    const results = await Promise.allSettled([mountTiny('same'), mountTiny('same'), mountTiny('same')]);
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'BUSY' });
    const mounts = (await readMounts()).filter(({ mountPoint }) => mountPoint === join(place.dir, 'same'));
    expect(mounts.length).toBe(1);
  });

  it('says of an ordinary image what to do, and of a missing one that it is missing', async () => {
    const mountpoint = await place.mountpoint('m');
    await expect(mountImage(place, { reference: layoutOf('tiny-src'), mountpoint })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('rafter convert'),
    });
    await expect(
      mountImage(place, { reference: `oci:${join(place.dir, 'nothing')}`, mountpoint }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await listMounts(place)).toEqual([]);
    expect(await findMount(mountpoint)).toBeUndefined();
  });

  it('stops when the client goes away, and leaves nothing', async () => {
    const silent = await startSilentRegistry();
    try {
      const controller = new AbortController();
      const mountpoint = await place.mountpoint('m');
      const mounting = mountImage(
        { ...place, signal: controller.signal },
        { reference: `${silent.host}/a:1`, mountpoint },
      );
      mounting.catch(() => {});
      await silent.asked;
      controller.abort();
      await expect(mounting).rejects.toMatchObject({ code: 'INTERRUPTED' });
      await expect
        .poll(() =>
          mountTiny().then(
            () => true,
            () => false,
          ),
        )
        .toBe(true);
    } finally {
      silent.stop();
    }
  });
});

describe('unmounting', () => {
  it('works by id and by path, also through a symbolic link in front of it', async () => {
    const first = await mountTiny('one/m');
    const second = await mountTiny('two');
    await symlink(join(place.dir, 'one'), join(place.dir, 'alias'));
    await unmountImage(place, { mountpoint: join(place.dir, 'alias/m') });
    await unmountImage(place, { id: second.id });
    expect(await findMount(first.mountpoint)).toBeUndefined();
    expect(await listMounts(place)).toEqual([]);
    await expect(unmountImage(place, { id: second.id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(unmountImage(place, { mountpoint: place.dir })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is BUSY while a file is open, unless forced; the open file stays readable', async () => {
    const { mounted } = await mountFull();
    const { path, sha256: expected } = bigFile();
    const file = await open(join(mounted.mountpoint, path!));
    try {
      await expect(unmountImage(place, { id: mounted.id })).rejects.toMatchObject({
        code: 'BUSY',
        message: expect.stringContaining(mounted.mountpoint),
        hint: expect.stringContaining('fuser'),
      });
      expect((await listMounts(place)).length).toBe(1);
      await unmountImage(place, { id: mounted.id }, { force: true });
      expect(await findMount(mounted.mountpoint)).toBeUndefined();
      expect(sha256(await file.readFile())).toBe(expected);
    } finally {
      await file.close();
    }
  });

  it('is noticed when somebody else did it', async () => {
    const mounted = await mountTiny();
    const { unmount } = await import('../../../src/os/mount.js');
    unmount(mounted.mountpoint);
    await expect.poll(() => listMounts(place), { timeout: 5000 }).toEqual([]);
    await mountTiny();
  });
});

describe('the daemon', () => {
  it('says what it is, serves a private socket, and ends on request with everything unmounted', async () => {
    const mounted = await mountTiny();
    const status = (await daemonStatus(place))!;
    expect(status).toMatchObject({
      version: '1.2.3',
      runDir: place.runDir,
      dataRoot: place.dataRoot,
      mounts: 1,
    });
    expect(status.cache.dir).toBe(join(place.dataRoot, 'cache'));
    expect((await stat(join(place.runDir, 'rafter.sock'))).mode & 0o777).toBe(0o600);
    expect((await stat(place.runDir)).mode & 0o777).toBe(0o700);
    expect(await shutdownDaemon(place)).toBe(true);
    expect(await findMount(mounted.mountpoint)).toBeUndefined();
    expect(await ended(status.pid)).toBe(true);
    expect(existsSync(join(place.runDir, 'rafter.sock'))).toBe(false);
    expect(await daemonStatus(place)).toBeUndefined();
    expect(await shutdownDaemon(place)).toBe(false);
    expect(await listMounts(place)).toEqual([]);
  });

  it('ends at once also while a mount request waits for its registry', async () => {
    const silent = await startSilentRegistry();
    try {
      const mountpoint = await place.mountpoint('m');
      const mounting = mountImage(place, { reference: `${silent.host}/a:1`, mountpoint });
      mounting.catch(() => {});
      await silent.asked;
      const { pid } = (await daemonStatus(place))!;
      process.kill(pid, 'SIGTERM');
      expect(await ended(pid)).toBe(true);
      await expect(mounting).rejects.toMatchObject({ code: 'INTERRUPTED' });
    } finally {
      silent.stop();
    }
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('unmounts on %s also what is in use', async (signal) => {
    const { mounted } = await mountFull();
    const { pid } = (await daemonStatus(place))!;
    const file = await open(join(mounted.mountpoint, bigFile().path!));
    try {
      process.kill(pid, signal);
      expect(await ended(pid)).toBe(true);
      expect(await findMount(mounted.mountpoint)).toBeUndefined();
    } finally {
      await file.close().catch(() => {});
    }
  });

  it('is one, however many start it at once', async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => ensureDaemon(place)));
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(1);
  });

  it('takes over the socket and cleans up the mounts of one that was killed', async () => {
    const first = await mountTiny('one');
    const second = await mountTiny('two');
    const { pid } = (await daemonStatus(place))!;
    process.kill(pid, 'SIGKILL');
    expect(await ended(pid)).toBe(true);
    await expect(readFile(join(first.mountpoint, 'bin/hello'))).rejects.toThrow(/EIO|ENOTCONN|ECONNABORTED/);
    await unmountImage(place, { mountpoint: second.mountpoint });
    expect(await findMount(second.mountpoint)).toBeUndefined();
    const status = await ensureDaemon(place);
    expect(status.pid).not.toBe(pid);
    expect(await findMount(first.mountpoint)).toBeUndefined();
    const again = await mountTiny('one');
    expect(await readdir(again.mountpoint)).toEqual(['bin', 'etc']);
  });

  it('serves verified bytes from the cache of one that was killed', async () => {
    const { mounted } = await mountFull();
    await readTree(mounted.mountpoint);
    const { pid } = (await daemonStatus(place))!;
    process.kill(pid, 'SIGKILL');
    await ended(pid);
    const { mounted: again } = await mountFull();
    expect(compareTrees(expectedTree('full'), await readTree(again.mountpoint))).toEqual([]);
  });

  it('refuses another data root than it has', async () => {
    await ensureDaemon(place);
    const elsewhere = { ...place, dataRoot: '/elsewhere' };
    const mounting = () => mountImage(elsewhere, { reference: 'oci:/nowhere', mountpoint: place.dir });
    for (const work of [() => ensureDaemon(elsewhere), mounting])
      await expect(work()).rejects.toMatchObject({
        code: 'BUSY',
        message: `the daemon of ${place.runDir} uses the data root ${place.dataRoot}`,
        hint: expect.stringContaining(place.dataRoot),
      });
  });

  it('reports why it did not start', async () => {
    const command = [process.execPath, '-e', 'console.error("no luck today"); process.exit(3)'];
    await expect(ensureDaemon({ ...place, command })).rejects.toMatchObject({
      code: 'FAILED',
      message: expect.stringMatching(/exit code 3.*no luck today/),
    });
    await expect(ensureDaemon({ ...place, command: ['/no/such/program'] })).rejects.toMatchObject({
      code: 'FAILED',
      message: expect.stringContaining('ENOENT'),
    });
    const sleeping = [process.execPath, '-e', 'setTimeout(() => {}, 2000)'];
    await expect(ensureDaemon({ ...place, command: sleeping, deadline: 300 })).rejects.toThrow(
      /within 0.3 s/,
    );
  });

  it('ends by itself when idle, not while something is mounted', async () => {
    await place.remove();
    place = createPlace({ idleSeconds: 1 });
    const mounted = await mountTiny();
    const { pid } = (await daemonStatus(place))!;
    expect(await ended(pid, 2500)).toBe(false);
    await unmountImage(place, { id: mounted.id });
    expect(await ended(pid, 5000)).toBe(true);
  });

  it('answers wrong requests with errors that do not repeat them', async () => {
    await ensureDaemon(place);
    const call = (method: string, path: string, body?: string) =>
      new Promise<{ status: number; answer: { code: string; message: string } }>((resolve, reject) => {
        const socketPath = join(place.runDir, 'rafter.sock');
        const request = httpRequest({ socketPath, method, path, agent: false }, async (response) =>
          resolve({ status: response.statusCode!, answer: (await json(response)) as never }),
        );
        request.on('error', reject).end(body);
      });
    expect(await call('GET', '/v2/status')).toMatchObject({ status: 404, answer: { code: 'NOT_FOUND' } });
    expect(await call('POST', '/v1/mounts', '{"reference":')).toMatchObject({ status: 400 });
    const wrong = {
      reference: 'a',
      mountpoint: '/m',
      access: { credentials: { username: 'u', password: 7, secret: 'hunter2' } },
    };
    const refused = await call('POST', '/v1/mounts', JSON.stringify(wrong));
    expect(refused).toMatchObject({ status: 400, answer: { code: 'USAGE' } });
    expect(refused.answer.message).toContain('access.credentials');
    expect(refused.answer.message).not.toContain('hunter2');
    const body = (length: number) => JSON.stringify({ reference: 'x'.repeat(length) }).padEnd(length);
    expect(await call('POST', '/v1/mounts', body(MAX_BODY).slice(0, MAX_BODY))).toMatchObject({
      status: 400,
    });
    expect(await call('POST', '/v1/mounts', body(MAX_BODY + 1))).toMatchObject({ status: 413 });
    expect(await call('DELETE', '/v1/mounts')).toMatchObject({ status: 400 });
  });
});
