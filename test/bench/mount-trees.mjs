import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** How long nydusd may take to mount, in milliseconds. */
const NYDUSD_PATIENCE = 10_000;

const rafter = resolve(import.meta.dirname, '../../bin/rafter');

/**
 * @typedef {object} Server
 * @property {string} name
 * @property {Record<string, string>} trees where the tree of each image is
 * @property {Record<string, number>} pids processes that serve it
 * @property {() => Promise<void>} stop
 */

/** Runs `rafter ARGS...` with directories of its own below `dir`; its output. */
async function run(dir, command, ...args) {
  const places = ['--run-dir', join(dir, 'run'), '--data-root', join(dir, 'data')];
  const words = command.split(' ');
  const { stdout } = await promisify(execFile)(process.execPath, [rafter, ...words, ...places, ...args]);
  return stdout;
}

/** Converts an image of a layout into the layout `dir`/nydus and unpacks it below `dir`/unpacked, if it is not there yet. */
export async function prepare(name, source, dir) {
  const converted = `oci:${join(dir, 'nydus')}:${name}`;
  const unpacked = join(dir, 'unpacked', name);
  if (existsSync(unpacked)) return { name, converted, unpacked };
  await promisify(execFile)(process.execPath, [
    rafter,
    'convert',
    '--quiet',
    '--no-cache',
    source,
    converted,
  ]);
  mkdirSync(join(dir, 'unpacked'), { recursive: true });
  await promisify(execFile)(process.execPath, [rafter, 'unpack', '--quiet', converted, unpacked]);
  return { name, converted, unpacked };
}

/** The trees as directories of an ordinary file system. @returns {Promise<Server>} */
export async function serveDirectories(images) {
  const trees = Object.fromEntries(images.map(({ name, unpacked }) => [name, unpacked]));
  return { name: fileSystemOf(images[0].unpacked), trees, pids: {}, stop: async () => {} };
}

function fileSystemOf(path) {
  return execFileSync('stat', ['-f', '-c', '%T', path]).toString().trim().replace('ext2/ext3', 'ext4');
}

/**
 * The images mounted by rafter, with all their data local. With `first` they were not local when they were mounted, so that the
 * daemon still serves them. @returns {Promise<Server>}
 */
export async function serveRafter(images, { name, flags, first = false }, dir) {
  mkdirSync(dir);
  const trees = {};
  const mountAll = async () => {
    for (const image of images) {
      trees[image.name] = join(dir, image.name);
      mkdirSync(trees[image.name], { recursive: true });
      await run(dir, 'mount', ...flags, image.converted, trees[image.name]);
    }
  };
  const stop = () => run(dir, 'daemon stop');
  try {
    await mountAll();
    for (const tree of Object.values(trees)) await readAll(tree);
    if (!first) {
      for (const tree of Object.values(trees)) await run(dir, 'umount', tree);
      await stop();
      await mountAll();
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const { pid, supervisorPid } = JSON.parse(await run(dir, 'daemon status', '--json'));
  const pids = { daemon: pid, ...(supervisorPid && { supervisor: supervisorPid }) };
  return { name, trees, pids, stop };
}

/** The images mounted by nydusd, with all their data local. @returns {Promise<Server | undefined>} nothing without nydusd */
export async function serveNydusd(images, dir) {
  const program = join(process.env.RAFTER_PEERS ?? '', 'nydusd');
  if (!process.env.RAFTER_PEERS || !existsSync(program)) return undefined;
  const trees = {};
  const pids = {};
  const children = [];
  const stop = async () => {
    for (const child of children) {
      const ended = once(child, 'exit');
      if (child.kill('SIGTERM')) await ended;
    }
  };
  try {
    for (const image of images) {
      const place = join(dir, image.name);
      const child = startNydusd(program, image, place);
      children.push(child);
      trees[image.name] = join(place, 'mnt');
      pids[`nydusd ${image.name}`] = child.pid;
      await mounted(trees[image.name], child);
      await readAll(trees[image.name]);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: 'nydusd', trees, pids, stop };
}

function startNydusd(program, { converted, name }, dir) {
  const [blobs, cache, mountpoint] = ['blobs', 'cache', 'mnt'].map((part) => join(dir, part));
  for (const path of [blobs, cache, mountpoint]) mkdirSync(path, { recursive: true });
  const layout = converted.slice('oci:'.length, -`:${name}`.length);
  const fileOf = (digest) => join(layout, 'blobs', digest.replace(':', '/'));
  const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
  const { manifests } = json(join(layout, 'index.json'));
  const found = manifests.find((item) => item.annotations['org.opencontainers.image.ref.name'] === name);
  const { layers } = json(fileOf(found.digest));
  for (const { digest } of layers.slice(0, -1)) linkSync(fileOf(digest), join(blobs, digest.split(':')[1]));
  execFileSync('tar', ['-xzf', fileOf(layers.at(-1).digest), '-C', dir, 'image/image.boot']);
  const config = {
    device: {
      backend: { type: 'localfs', config: { dir: blobs } },
      cache: { type: 'blobcache', config: { work_dir: cache } },
    },
    mode: 'direct',
    digest_validate: false,
    enable_xattr: true,
    fs_prefetch: { enable: false, threads_count: 4 },
  };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  const files = ['--bootstrap', 'image/image.boot', '--config', 'config.json', '--mountpoint', 'mnt'];
  return spawn(program, ['fuse', ...files, '--apisock', 'api.sock', '--rlimit-nofile', '0'], {
    cwd: dir,
    stdio: 'ignore',
  });
}

async function mounted(path, child) {
  for (const end = Date.now() + NYDUSD_PATIENCE; ; await sleep(20)) {
    if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `)) return;
    if (child.exitCode !== null || Date.now() > end) throw new Error(`nydusd did not mount ${path}`);
  }
}

/** Reads every file, so that all data is local. */
async function readAll(tree) {
  await promisify(execFile)('sh', ['-c', 'tar -C "$1" -cf - . | cat >/dev/null', 'sh', tree]);
}
