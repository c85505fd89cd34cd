import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unmountFuse } from '../../src/fuse/unmount.js';
import { daemonStatus, shutdownDaemon } from '../../src/mount/client/client.js';
import type { DaemonPlace } from '../../src/mount/client/start-daemon.js';
import { readMounts } from '../../src/os/mountinfo.js';
import { loopFiles } from '../support/loops.js';

const rafter = resolve(import.meta.dirname, '../../bin/rafter');
/** Of the bundle, as users have it: it starts in a third of the time of the modules that it is made of. */
const compiled = resolve(import.meta.dirname, '../../dist/bundle/daemon.js');

/** A directory of one test with what a daemon needs; `remove` ends the daemon and leaves nothing behind. */
export interface TestPlace extends DaemonPlace {
  dir: string;
  /** Creates a directory to mount at. */
  mountpoint(name: string): Promise<string>;
  remove(): Promise<void>;
}

/** The daemon runs the compiled program: Node.js cannot run ours uncompiled. A supervised one is as users start it. */
export function createPlace({
  idleSeconds = 0,
  supervised = false,
  options: more = [],
}: {
  idleSeconds?: number;
  supervised?: boolean;
  /** More options of `rafter daemon run`, for a supervised one. */
  options?: string[];
} = {}): TestPlace {
  if (!existsSync(compiled)) throw new Error('these tests need the compiled program: npm run build');
  const dir = mkdtempSync(join(tmpdir(), 'rafter-daemon-'));
  const runDir = join(dir, 'run');
  const dataRoot = join(dir, 'data');
  const options = JSON.stringify({ runDir, dataRoot, version: '1.2.3', idleSeconds });
  const code = `require(${JSON.stringify(compiled)}).runDaemon(${options});`;
  return {
    dir,
    runDir,
    dataRoot,
    command: supervised
      ? [process.execPath, rafter, 'daemon', 'run', '--run-dir', runDir, '--data-root', dataRoot, ...more]
      : [process.execPath, '-e', code],
    async mountpoint(name) {
      const path = join(dir, name);
      await mkdir(path, { recursive: true });
      return path;
    },
    async remove() {
      const status = await daemonStatus({ runDir }).catch(() => undefined);
      await shutdownDaemon({ runDir }).catch(() => {});
      if (status !== undefined && !(await ended(status.pid, 10_000))) process.kill(status.pid, 'SIGKILL');
      for (const { mountPoint } of await readMounts())
        if (mountPoint.startsWith(`${dir}/`)) await unmountFuse(mountPoint, { detach: true });
      // The kernel clears them a moment after a mount is gone.
      for (const end = Date.now() + 10_000; loopFiles(dir).length > 0; await sleep(20))
        if (Date.now() > end) throw new Error(`loop devices are left: ${loopFiles(dir)}`);
      await rm(dir, { recursive: true });
    },
  };
}

/** True as soon as the process is gone (or a zombie), false after `deadline` milliseconds. */
export async function ended(pid: number, deadline = 10_000): Promise<boolean> {
  for (const end = Date.now() + deadline; Date.now() < end; await sleep(20)) if (isGone(pid)) return true;
  return isGone(pid);
}

function isGone(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

/**
 * Has another process read every file. A synchronous read in this one would wait for ever where this process also answers
 * for the registry.
 */
export async function readEverything(root: string): Promise<void> {
  const reader = spawn('find', [root, '-type', 'f', '-exec', 'cat', '{}', '+'], { stdio: 'ignore' });
  const [code] = await once(reader, 'exit');
  if (code !== 0) throw new Error(`not everything in ${root} could be read`);
}

/** Text of every file below `dir`, for looking for what must not be there. */
export async function allText(dir: string): Promise<string> {
  const names = await readdir(dir, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');
}
