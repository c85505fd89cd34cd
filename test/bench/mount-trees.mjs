import { execFile, execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { rafter } from './images.mjs';
import { peer, startNydusd } from './nydusd.mjs';

/**
 * @typedef {object} Server
 * @property {string} name
 * @property {boolean} ours it is rafter
 * @property {Record<string, string>} trees where the tree of each image is
 * @property {Record<string, number>} pids processes that serve it
 * @property {() => Promise<void>} stop
 */

/** Runs `rafter ARGS...` with directories of its own below `dir`; its output. */
export async function runRafter(dir, command, ...args) {
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
  return { name: fileSystemOf(images[0].unpacked), ours: false, trees, pids: {}, stop: async () => {} };
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
      await runRafter(dir, 'mount', ...flags, image.converted, trees[image.name]);
    }
  };
  const stop = () => runRafter(dir, 'daemon stop');
  try {
    await mountAll();
    for (const tree of Object.values(trees)) await readAll(tree);
    if (!first) {
      for (const tree of Object.values(trees)) await runRafter(dir, 'umount', tree);
      await stop();
      await mountAll();
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const { pid, supervisorPid } = JSON.parse(await runRafter(dir, 'daemon status', '--json'));
  const pids = { daemon: pid, ...(supervisorPid && { supervisor: supervisorPid }) };
  return { name, ours: true, trees, pids, stop };
}

/** The images mounted by nydusd, with all their data local. @returns {Promise<Server | undefined>} nothing without nydusd */
export async function serveNydusd(images, dir) {
  if (peer('nydusd') === undefined) return undefined;
  const trees = {};
  const pids = {};
  const mounts = [];
  const stop = async () => {
    for (const mount of mounts.splice(0)) await mount.stop();
  };
  try {
    for (const image of images) {
      const mount = await mountWithNydusd(image, join(dir, image.name));
      mounts.push(mount);
      trees[image.name] = mount.mountpoint;
      pids[`nydusd ${image.name}`] = mount.pid;
      await readAll(mount.mountpoint);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: 'nydusd', ours: false, trees, pids, stop };
}

/** Mounts a converted image of a layout, whose blobs nydusd finds as files. */
function mountWithNydusd({ converted, name }, dir) {
  const blobs = join(dir, 'blobs');
  mkdirSync(blobs, { recursive: true });
  const layout = converted.slice('oci:'.length, -`:${name}`.length);
  const fileOf = (digest) => join(layout, 'blobs', digest.replace(':', '/'));
  const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
  const { manifests } = json(join(layout, 'index.json'));
  const found = manifests.find((item) => item.annotations['org.opencontainers.image.ref.name'] === name);
  const { layers } = json(fileOf(found.digest));
  for (const { digest } of layers.slice(0, -1)) linkSync(fileOf(digest), join(blobs, digest.split(':')[1]));
  const backend = { type: 'localfs', config: { dir: blobs } };
  return startNydusd({ dir, bootstrap: fileOf(layers.at(-1).digest), backend });
}

/** Reads every file, so that all data is local. */
async function readAll(tree) {
  await promisify(execFile)('sh', ['-c', 'tar -C "$1" -cf - . | cat >/dev/null', 'sh', tree]);
}
