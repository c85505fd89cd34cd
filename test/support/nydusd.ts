import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unmount } from '../../src/os/mount.js';
import { isMountPoint } from '../../src/os/mountinfo.js';
import type { TakenApart } from './nydus-layout.js';

const START_TIMEOUT_MS = 10_000;

/** Mounts a Nydus image with nydusd, from local blob files, every chunk validated. `dir` is made for it. */
export async function startNydusd(
  program: string,
  image: TakenApart,
  dir: string,
): Promise<{ mountPoint: string; stop(): Promise<void> }> {
  const [blobs, cache, mountPoint] = ['blobs', 'cache', 'mnt'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [blobs, cache, mountPoint]) mkdirSync(path, { recursive: true });
  for (const file of [...image.blobFiles, ...image.mapFiles]) linkSync(file, join(blobs, basename(file)));
  const config = join(dir, 'config.json');
  writeFileSync(
    config,
    JSON.stringify({
      device: {
        backend: { type: 'localfs', config: { dir: blobs } },
        cache: { type: 'blobcache', validate: true, config: { work_dir: cache } },
      },
      mode: 'direct',
      digest_validate: false,
      enable_xattr: true,
      fs_prefetch: { enable: false, threads_count: 8 },
    }),
  );
  const options = ['--bootstrap', image.bootstrapFile, '--config', config, '--mountpoint', mountPoint];
  const child = spawn(program, [
    'fuse',
    ...options,
    '--apisock',
    join(dir, 'api.sock'),
    '--rlimit-nofile',
    '0',
  ]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => {
      output = (output + piece.toString()).slice(-4000);
    });
  }
  const stop = async () => {
    const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGTERM');
    await ended;
    if (await isMountPoint(mountPoint)) unmount(mountPoint, { detach: true });
  };
  for (const start = Date.now(); !(await isMountPoint(mountPoint)); await sleep(20)) {
    if (child.exitCode !== null || Date.now() - start > START_TIMEOUT_MS) {
      await stop();
      throw new Error(`nydusd did not mount: ${output}`);
    }
  }
  return { mountPoint, stop };
}
