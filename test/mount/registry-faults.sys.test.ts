import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { parseReference } from '../../src/image/reference.js';
import type { MountRequest, MountResult } from '../../src/mount/api/api.js';
import { listMounts, mountImage, unmountImage } from '../../src/mount/client/client.js';
import { openTarget } from '../../src/transports/open.js';
import { makeSmallRootfs } from '../run/small-rootfs.js';
import {
  cutAfter,
  type FakeRegistry,
  failWith,
  type Handler,
  hangUp,
  startFakeRegistry,
} from '../support/fake-registry.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';
import { createPlace, readEverything, type TestPlace } from './daemon-process.js';

const program = resolve(import.meta.dirname, '../../bin/rafter');
const always = Number.POSITIVE_INFINITY;
const BLOB = /GET .*\/blobs\//;
const WAIT = { timeout: 30_000, interval: 20 };
const FILES = 35;
const FILE_SIZE = 300_000;

const missing = process.geteuid?.() === 0 ? missingPrograms('runc', 'tar', 'sha256sum') : 'needs root';
const directory = mkdtempSync(join(tmpdir(), 'rafter-faults-'));
const dockerConfig = join(directory, 'config.json');
const contents = Array.from({ length: FILES }, () => randomBytes(FILE_SIZE));
let registry: FakeRegistry;
let storage: FakeRegistry;
let place: TestPlace;
let mounted: MountResult;

/** What the registry believes just now. */
const now = {
  token: 1,
  password: 'first',
  signature: 1,
  redirects: false,
  gone: false,
  refused: 0,
  denied: 0,
};

/** Each reader gets a file that nobody has read, none behind the other: 6 times 6 is FILES and 1, so the next file was read before. */
const unread = Array.from({ length: FILES }, (_, i) => (i * 6) % FILES);

function nextFile(): number {
  const file = unread.pop();
  if (file === undefined) throw new Error('every file has been read');
  return file;
}

const pathOf = (file: number, mount: { mountpoint: string } = mounted) =>
  join(mount.mountpoint, 'files', `f${file}`);

/** Reads a file in another process: the registry is in this one. */
async function sumOf(file: number): Promise<string> {
  const { stdout } = await promisify(execFile)('sha256sum', [pathOf(file)]);
  return stdout.slice(0, 64);
}

async function expectRightBytes(): Promise<void> {
  const file = nextFile();
  expect(await sumOf(file)).toBe(createHash('sha256').update(contents[file]!).digest('hex'));
}

function writeCredentials(password: string): void {
  const auth = Buffer.from(`reader:${password}`).toString('base64');
  writeFileSync(dockerConfig, JSON.stringify({ auths: { [registry.host]: { auth } } }));
}

/** Wants the newest token, which the newest password gives. */
const authenticate: Handler = (request, response, next) => {
  const { authorization } = request.headers;
  if (request.url.startsWith('/token')) {
    const wanted = `Basic ${Buffer.from(`reader:${now.password}`).toString('base64')}`;
    if (authorization !== wanted) {
      now.denied++;
      failWith(401, 'UNAUTHORIZED')(request, response, next);
    } else response.end(JSON.stringify({ token: `token-${now.token}`, expires_in: 300 }));
  } else if (authorization === `Bearer token-${now.token}`) next();
  else {
    const challenge = `Bearer realm="http://${registry.host}/token",service="x"`;
    failWith(401, 'UNAUTHORIZED', { 'www-authenticate': challenge })(request, response, next);
  }
};

const redirect: Handler = (request, response, next) => {
  if (!now.redirects) return next();
  response.writeHead(307, { location: `http://${storage.host}${request.url}?sig=${now.signature}` }).end();
};

/** From now on nobody answers at the registry, nor where it redirects to. */
function goAway(): void {
  now.gone = true;
  now.refused = 0;
  registry.cut();
  storage.cut();
}

/** The right answer in small pieces. */
const drip: Handler = (request, response) => {
  const bytes = registry.blobs.get(/sha256:[0-9a-f]{64}/.exec(request.url)![0])!;
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!;
  const body = bytes.subarray(Number(from), Number(to) + 1);
  response.writeHead(206, {
    'content-length': body.length,
    'content-range': `bytes ${from}-${to}/${bytes.length}`,
  });
  const send = (at: number): unknown =>
    at >= body.length
      ? response.end()
      : response.write(body.subarray(at, at + 50_000), () => setTimeout(send, 20, at + 50_000));
  send(0);
};

/** An answer of the right length with a wrong byte. */
const damage: Handler = (request, response) => {
  const digest = /sha256:[0-9a-f]{64}/.exec(request.url)![0];
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!;
  const bytes = registry.blobs.get(digest)!;
  const body = Buffer.from(bytes.subarray(Number(from), Number(to) + 1));
  body[body.length >> 1]! ^= 1;
  response.writeHead(206, {
    'content-length': body.length,
    'content-range': `bytes ${from}-${to}/${bytes.length}`,
  });
  response.end(body);
};

async function writeImage(): Promise<void> {
  const root = makeSmallRootfs(join(directory, 'root'));
  execFileSync('mkdir', [join(root, 'files')]);
  for (const [i, bytes] of contents.entries()) writeFileSync(join(root, 'files', `f${i}`), bytes);
  const tar = join(directory, 'layer.tar.gz');
  execFileSync('tar', ['-czf', tar, '-C', root, '.']);
  const path = join(directory, 'layout');
  await writeLayerImage(path, 'plain', [tar]);
  const source = new LayoutSource({ transport: 'oci', path, tag: 'plain' });
  try {
    const target = openTarget(parseReference(`${registry.host}/app:1`));
    await convertImage({ source, target, sourceReference: `oci:${path}:plain`, options: { batchSize: 0 } });
  } finally {
    await source.close();
  }
}

async function mountAt(name: string, more: Partial<MountRequest> = {}): Promise<MountResult> {
  const mountpoint = await place.mountpoint(name);
  const reference = `${registry.host}/app:1`;
  return mountImage(place, { reference, mountpoint, access: { dockerConfig }, ...more });
}

beforeAll(async () => {
  if (missing) return;
  place = createPlace();
  [registry, storage] = await Promise.all([startFakeRegistry(), startFakeRegistry()]);
  await writeImage();
  storage.intercept(
    /./,
    (request, response, next) =>
      request.url.endsWith(`?sig=${now.signature}`)
        ? next()
        : failWith(403, 'AccessDenied')(request, response, next),
    always,
  );
  for (const [digest, bytes] of registry.blobs) storage.blobs.set(digest, bytes);
  registry.intercept(BLOB, redirect, always);
  registry.intercept(/./, authenticate, always);
  for (const server of [registry, storage])
    server.intercept(
      /./,
      (request, response, next) => {
        if (!now.gone) return next();
        now.refused++;
        hangUp(request, response, next);
      },
      always,
    );
  writeCredentials(now.password);
  mounted = await mountAt('m', { driver: 'erofs' });
});
afterAll(async () => {
  await place?.remove();
  await Promise.all([registry?.stop(), storage?.stop()]);
  await rm(directory, { recursive: true });
});
beforeEach((ctx) => {
  if (missing) ctx.skip(missing);
});

describe('a reader waits, and gets the right bytes, where the registry', () => {
  it.each<[string, () => void]>([
    ['cuts bodies', () => registry.intercept(BLOB, cutAfter(registry, 1000), 1)],
    ['drips', () => registry.intercept(BLOB, drip, 1)],
    ['answers 503', () => registry.intercept(BLOB, failWith(503), 1)],
    [
      'asks to come back later',
      () => registry.intercept(BLOB, failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '1' }), 1),
    ],
    ['hangs up', () => registry.intercept(BLOB, hangUp, 1)],
    ['gives a wrong byte', () => registry.intercept(BLOB, damage, 1)],
  ])('%s', async (_, misbehave) => {
    misbehave();
    const before = registry.requests.length;
    await expectRightBytes();
    expect(registry.requests.length - before).toBeGreaterThan(0);
  });

  it('is gone for a while', async () => {
    goAway();
    const reading = expectRightBytes();
    await vi.waitFor(() => expect(now.refused).toBeGreaterThan(1), WAIT);
    now.gone = false;
    await reading;
  });

  it('ends a token early', async () => {
    now.token++;
    await expectRightBytes();
  });

  it('has other credentials by now, which the docker configuration has, too', async () => {
    now.token++;
    now.password = 'second';
    writeCredentials('second');
    await expectRightBytes();
  });

  it('has other credentials by now, which the docker configuration gets later', async () => {
    now.token++;
    now.password = 'third';
    now.denied = 0;
    const reading = expectRightBytes();
    await vi.waitFor(() => expect(now.denied).toBeGreaterThan(0), WAIT);
    writeCredentials('third');
    await reading;
  });

  it('redirects to a URL whose signature ends', async () => {
    now.redirects = true;
    await expectRightBytes();
    expect(storage.requests.length).toBeGreaterThan(0);
    now.signature++;
    await expectRightBytes();
    now.redirects = false;
  });
});

describe('while the registry is gone', () => {
  beforeEach(() => {
    goAway();
    return () => {
      now.gone = false;
    };
  });

  it.each([
    ['erofs', { driver: 'erofs' }],
    ['erofs on loop devices', { driver: 'erofs', backing: 'loop' }],
    ['fuse', { driver: 'fuse' }],
  ] as const)('readers of %s get EIO after the deadline of the mount', async (name, how) => {
    now.gone = false;
    const other = await mountAt(name, { ...how, readTimeout: 0.3 });
    now.gone = true;
    const read = async () => {
      const cat = spawn('cat', [pathOf(nextFile(), other)], { stdio: ['ignore', 'ignore', 'pipe'] });
      const [said, [code]] = await Promise.all([text(cat.stderr), once(cat, 'exit')]);
      return { said, code };
    };
    try {
      let outcome = await read();
      // What was read ahead of other files is here.
      while (outcome.code === 0) outcome = await read();
      expect(outcome).toEqual({ said: expect.stringContaining('Input/output error'), code: 1 });
    } finally {
      await unmountImage(place, { id: other.id });
    }
  });

  /** Has `cat` read files of `mount` until it has to wait for one. It ends by the signal. */
  async function endWaitingReader(name: 'SIGINT' | 'SIGKILL', mount?: MountResult): Promise<void> {
    for (;;) {
      const before = now.refused;
      const cat = spawn('cat', [pathOf(nextFile(), mount)], { stdio: 'ignore' });
      const exited = once(cat, 'exit');
      const waits = () => now.refused > before && existsSync(`/proc/${cat.pid}/fd/3`);
      while (cat.exitCode === null && !waits()) await sleep(WAIT.interval);
      cat.kill(name);
      const [code, signal] = await exited;
      // What was read ahead of other files may be here: nobody waits for that.
      if (code === 0) continue;
      expect(signal).toBe(name);
      return;
    }
  }

  it.each(['SIGINT', 'SIGKILL'] as const)('%s ends a reader that waits', (name) => endWaitingReader(name));

  it('what loop devices still read for a reader that is dead does not hold up the unmount', async () => {
    now.gone = false;
    const other = await mountAt('loop', { driver: 'erofs', backing: 'loop' });
    now.gone = true;
    await endWaitingReader('SIGKILL', other);
    await unmountImage(place, { id: other.id });
    expect((await listMounts(place)).map(({ id }) => id)).toEqual([mounted.id]);
  });
});

it('an image that is all here mounts, runs and unmounts without registry and with credentials that ended', async () => {
  await readEverything(mounted.mountpoint);
  await unmountImage(place, { id: mounted.id });
  goAway();
  writeCredentials('ended');
  const directories = ['--run-dir', place.runDir, '--data-root', place.dataRoot];
  const args = [program, 'run', ...directories, `${registry.host}/app:1`, '--', 'cat', '/files/f5'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
    env: { ...process.env, DOCKER_CONFIG: directory },
    encoding: 'buffer',
  });
  expect(stdout.equals(contents[5]!)).toBe(true);
  expect(stderr.toString()).toContain('meant last');
  expect(await listMounts(place)).toEqual([]);
});
