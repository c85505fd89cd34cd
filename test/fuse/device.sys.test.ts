import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { mkdtemp, readdir, readFile, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type DeviceMount, mountOverDevice } from '../../src/fuse/device-mount.js';
import { DeviceServer } from '../../src/fuse/device-server.js';
import { FsError } from '../../src/fuse/fs-error.js';
import { openFlag } from '../../src/fuse/protocol.js';
import { resendRequests } from '../../src/fuse/resend.js';
import { MemoryFs } from './memory-fs.js';

let dir: string;
let fs: MemoryFs;
let mount: DeviceMount | undefined;
const servers: DeviceServer[] = [];

function startServer(): DeviceServer {
  const server = new DeviceServer(new URL('forwarding-reader.mjs', import.meta.url), (error) => {
    throw error;
  });
  servers.push(server);
  return server;
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-device-'));
  fs = new MemoryFs();
});
afterEach(async () => {
  await mount?.unmount({ detach: true }).catch(() => {});
  mount = undefined;
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rmdir(dir);
});

/** A file whose reads wait for ever, until they are called off. */
function addStuckFile(name: string): { waiting: () => number; interrupted: () => number } {
  let waiting = 0;
  let interrupted = 0;
  const content = (_offset: number, _target: Buffer, signal?: AbortSignal) => {
    waiting++;
    return new Promise<number>((_, reject) => {
      signal?.addEventListener('abort', () => {
        interrupted++;
        reject(new FsError('EINTR', 'called off'));
      });
    });
  };
  fs.add(1, name, { mode: constants.S_IFREG | 0o644, size: 10, content });
  return { waiting: () => waiting, interrupted: () => interrupted };
}

it('lets a reader go at once that is killed while it waits', async () => {
  const stuck = addStuckFile('stuck');
  mount = mountOverDevice(dir, startServer(), { fs });
  const reader = spawn('cat', [join(dir, 'stuck')], { stdio: 'ignore' });
  await vi.waitFor(() => expect(stuck.waiting()).toBeGreaterThan(0), { timeout: 20_000 });
  reader.kill('SIGKILL');
  const [, signal] = await once(reader, 'exit');
  expect(signal).toBe('SIGKILL');
  await mount.unmount();
  await mount.ended;
  expect(stuck.interrupted()).toBe(stuck.waiting());
});

it('does not end a direct read by a signal that its reader handles, only by one that ends it', async () => {
  let answer = () => {};
  let waiting = 0;
  let interrupted = 0;
  const content = (_offset: number, target: Buffer, signal?: AbortSignal) => {
    waiting++;
    return new Promise<number>((resolve, reject) => {
      answer = () => resolve(target.fill('x').length);
      signal?.addEventListener('abort', () => {
        interrupted++;
        reject(new FsError('EINTR', 'called off'));
      });
    });
  };
  fs.add(1, 'slow', { mode: constants.S_IFREG | 0o644, size: 10, content });
  fs.open = () => openFlag.DIRECT_IO;
  mount = mountOverDevice(dir, startServer(), { fs });
  const code = `
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
print(os.read(os.open(sys.argv[1], os.O_RDONLY), 10))`;
  const start = () =>
    spawn('python3', ['-c', code, join(dir, 'slow')], { stdio: ['ignore', 'pipe', 'inherit'] });

  const patient = start();
  await vi.waitFor(() => expect(waiting).toBe(1), { timeout: 20_000 });
  for (let i = 0; i < 5; i++) patient.kill('SIGUSR1');
  // The signals have come and gone when the kernel has told of them.
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(interrupted).toBe(0);
  answer();
  expect(await text(patient.stdout)).toBe("b'xxxxxxxxxx'\n");

  const killed = start();
  await vi.waitFor(() => expect(waiting).toBe(2), { timeout: 20_000 });
  killed.kill('SIGUSR1');
  killed.kill('SIGTERM');
  const [, signal] = await once(killed, 'exit');
  expect(signal).toBe('SIGTERM');
  await vi.waitFor(() => expect(interrupted).toBe(1), { timeout: 20_000 });
});

it('gives a successor what its predecessor had read and not answered', async () => {
  const stuck = addStuckFile('file');
  const first = startServer();
  mount = mountOverDevice(dir, first, { fs });
  const { connection } = mount;
  if (!connection.negotiated.resend) return;
  const reading = readFile(join(dir, 'file'), 'utf8');
  await vi.waitFor(() => expect(stuck.waiting()).toBeGreaterThan(0), { timeout: 20_000 });
  await first.close();
  const successor = new MemoryFs();
  successor.addFile(1, 'file', Buffer.from('0123456789'));
  const { ended } = startServer().serve(connection, { fs: successor });
  resendRequests(connection.fd);
  expect(await reading).toBe('0123456789');
  expect(await readFile(join(dir, 'file'), 'utf8')).toBe('0123456789');
  await mount.unmount();
  await ended;
});

it('lists a directory of thirty thousand, in linear time', async () => {
  const names = Array.from({ length: 30_000 }, (_, i) => `a-name-of-some-length-${i}`);
  for (const name of names) fs.add(1, name, { mode: constants.S_IFREG | 0o644 });
  let listed = 0;
  const list = fs.readdir.bind(fs);
  fs.readdir = function* (node) {
    for (const entry of list(node)) {
      listed++;
      yield entry;
    }
  };
  mount = mountOverDevice(dir, startServer(), { fs });
  expect((await readdir(dir)).sort()).toEqual(names.sort());
  expect(listed).toBeLessThan(2 * names.length);
});

it('has its reading thread do works between requests; what fails, or has not ended with the thread, comes to nothing', async () => {
  const server = startServer();
  fs.addFile(1, 'file', Buffer.from('abc'));
  mount = mountOverDevice(dir, server, { fs });
  const long = server.work({ parts: Number.POSITIVE_INFINITY });
  const fails = server.work({ parts: 1, fails: true });
  expect(await readFile(join(dir, 'file'), 'utf8')).toBe('abc');
  await server.close();
  expect(await Promise.all([long, fails])).toEqual([undefined, undefined]);
  expect(await server.work({ parts: 1 })).toBe(undefined);
  const other = startServer();
  expect(await Promise.all([other.work({ parts: 3 }), other.work({ parts: 1, fails: true })])).toEqual([
    'done in 3',
    undefined,
  ]);
});
