import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long nydusd may take to mount, in milliseconds. */
const PATIENCE = 20_000;

/**
 * Path of a program of Nydus in the folder that RAFTER_PEERS names.
 * @param {string} name
 * @returns {string | undefined} nothing if it is not there
 */
export function peer(name) {
  const path = join(process.env.RAFTER_PEERS ?? '', name);
  return process.env.RAFTER_PEERS && existsSync(path) ? path : undefined;
}

/** The environment in which nydusify finds nydus-image. */
export function peerEnvironment() {
  return { ...process.env, PATH: `${process.env.RAFTER_PEERS}:${process.env.PATH}` };
}

/**
 * Mounts an image with a nydusd of its own, whose files are below `dir`; it verifies nothing, as by default.
 * @param {object} image
 * @param {string} image.dir
 * @param {string} image.bootstrap file of the bootstrap layer, a tar.gz
 * @param {object} image.backend where its blobs are, as nydusd is configured
 * @param {boolean} [image.prefetch] it fetches everything in the background
 * @returns {Promise<{ mountpoint: string, pid: number, stop(): Promise<void> }>} when the tree is there
 */
export async function startNydusd({ dir, bootstrap, backend, prefetch = false }) {
  const [cache, mountpoint] = ['cache', 'mnt'].map((part) => join(dir, part));
  for (const path of [cache, mountpoint]) mkdirSync(path, { recursive: true });
  execFileSync('tar', ['-xzf', bootstrap, '-C', dir, 'image/image.boot']);
  const config = {
    device: { backend, cache: { type: 'blobcache', config: { work_dir: cache } } },
    mode: 'direct',
    digest_validate: false,
    enable_xattr: true,
    fs_prefetch: { enable: prefetch, threads_count: 8, prefetch_all: prefetch },
  };
  writeFileSync(join(dir, 'nydusd.json'), JSON.stringify(config));
  const files = ['--bootstrap', 'image/image.boot', '--config', 'nydusd.json', '--mountpoint', mountpoint];
  const flags = ['--apisock', 'api.sock', '--rlimit-nofile', '0', '--log-level', 'error'];
  const child = spawn(peer('nydusd'), ['fuse', ...files, ...flags], { cwd: dir, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  for (const end = Date.now() + PATIENCE; ; await sleep(5)) {
    if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${mountpoint} `))
      return { mountpoint, pid: child.pid, stop };
    if (child.exitCode === null && Date.now() < end) continue;
    await stop();
    throw new Error(`nydusd did not mount ${mountpoint}`);
  }
}
