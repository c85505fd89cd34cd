import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  daemonStatus,
  listMounts,
  mountImage,
  shutdownDaemon,
  unmountImage,
  upgradeDaemon,
} from '../../dist/mount/client/client.js';
import { unmount } from '../../dist/os/mount.js';
import { readMounts } from '../../dist/os/mountinfo.js';

const READER = new URL('./reader.mjs', import.meta.url).pathname;
/** Longest wait before a kill, in milliseconds. */
const MAX_WAIT = 600;
/** Descriptors that a daemon may have more at the end than at the start: for a moment, for requests under way. */
const SPARE_DESCRIPTORS = 6;
/** How long loop devices may stay behind their mount, in milliseconds. */
const LOOP_PATIENCE = 10_000;
/** How much more memory may be resident at the end, in bytes, of a supervisor. */
const SPARE_MEMORY = 12e6;

/**
 * One daemon's life: an image mounted with `driver` (`erofs`, on files or on `loop` devices, or `fuse`), read by `readers` processes while its daemon is killed `kills` times in all
 * sorts of moments. Counts what happened; `messages` say what was wrong.
 */
export async function runRound(options) {
  try {
    return await killAndRead(options);
  } finally {
    const runDir = join(options.dir, 'run');
    await shutdownDaemon({ runDir }).catch(() => {});
    for (const { mountPoint } of await readMounts())
      if (mountPoint.startsWith(`${options.dir}/`)) unmount(mountPoint, { detach: true });
  }
}

async function killAndRead({ dir, rafter, reference, tree, driver, kills, deadline, random, readers }) {
  const runDir = join(dir, 'run');
  const dataRoot = join(dir, 'data');
  const command = [process.execPath, rafter, 'daemon', 'run', '--run-dir', runDir, '--data-root', dataRoot];
  const place = { runDir, dataRoot, command };
  const result = { kills: 0, actions: {}, reads: 0, bytes: 0, wrong: 0, errors: 0, leaks: 0, messages: [] };
  const complain = (kind, message) => {
    result[kind]++;
    result.messages.push(`${kind}: ${message}`);
  };
  const mountpoint = join(dir, 'image');
  const other = join(dir, 'other');
  for (const path of [mountpoint, other]) mkdirSync(path, { recursive: true });

  /** Waits for a daemon to be there, up or not, and kills it. */
  async function kill(wait) {
    await sleep(wait);
    for (;;) {
      const pid = childrenOf(supervisor).at(-1);
      if (pid !== undefined) {
        process.kill(pid, 'SIGKILL');
        result.kills++;
        return pid;
      }
      await sleep(1);
    }
  }
  const during = async (wait, work) => {
    const [done] = await Promise.allSettled([work(), kill(wait)]);
    if (done.status === 'rejected') throw done.reason;
    return done.value;
  };
  const how = driver === 'loop' ? { driver: 'erofs', backing: 'loop' } : { driver };
  const mountOther = () => mountImage(place, { reference, mountpoint: other, ...how });
  const unmountOther = () => unmountImage(place, { mountpoint: other });
  const actions = {
    alone: () => kill(random() * MAX_WAIT),
    async twice() {
      await kill(random() * MAX_WAIT);
      await kill(random() * 500);
    },
    async mount() {
      await during(random() * 150, mountOther);
      await unmountOther();
    },
    async unmount() {
      await mountOther();
      await during(random() * 40, unmountOther);
    },
    async upgrade() {
      try {
        await during(random() * 1000, () => upgradeDaemon(place, command));
      } catch (error) {
        // Killed before the new one was told to come: the old one is back, as it should.
        if (!/did not come up|no daemon answers/.test(error.message)) throw error;
      }
    },
    async upgradeUndisturbed() {
      await upgradeDaemon(place, command);
    },
  };

  await mountImage(place, { reference, mountpoint, ...how });
  const first = await daemonStatus(place);
  const supervisor = first.supervisorPid;
  const programs = Array.from({ length: readers }, () => startReader(mountpoint, tree, random));
  await sleep(MAX_WAIT);
  const before = resourcesOf(first);
  while (result.kills < kills && Date.now() < deadline) {
    const pick = random();
    const name =
      pick < 0.45
        ? 'alone'
        : pick < 0.6
          ? 'twice'
          : pick < 0.75
            ? 'mount'
            : pick < 0.87
              ? 'unmount'
              : pick < 0.97
                ? 'upgrade'
                : 'upgradeUndisturbed';
    result.actions[name] = (result.actions[name] ?? 0) + 1;
    try {
      await actions[name]();
    } catch (error) {
      complain('errors', `${name}: ${error.message}`);
      await unmountOther().catch(() => {});
    }
  }
  await daemonStatus(place);
  await sleep(MAX_WAIT);
  for (const program of programs) {
    const counts = await program.stop();
    for (const kind of ['reads', 'bytes', 'wrong', 'errors']) result[kind] += counts[kind];
    result.messages.push(...counts.messages);
  }

  const last = await daemonStatus(place);
  const after = resourcesOf(last);
  if (last.supervisorPid !== supervisor) complain('errors', 'the supervisor has changed');
  for (const kind of ['daemonDescriptors', 'supervisorDescriptors'])
    if (after[kind] > before[kind] + SPARE_DESCRIPTORS)
      complain('leaks', `${kind}: ${before[kind]} -> ${after[kind]}`);
  if (after.supervisorBytes > before.supervisorBytes + SPARE_MEMORY)
    complain('leaks', `memory of the supervisor: ${before.supervisorBytes} -> ${after.supervisorBytes}`);
  const mounts = await listMounts(place);
  if (mounts.length !== 1) complain('leaks', `${mounts.length} mounts in the list instead of 1`);
  await unmountImage(place, { mountpoint });
  await shutdownDaemon(place);
  for (const mount of await readMounts())
    if (mount.mountPoint.startsWith(`${dir}/`)) complain('leaks', `still mounted: ${mount.mountPoint}`);
  for (const file of await loopFiles(dir)) complain('leaks', `a loop device of ${file}`);
  const temporary = existsSync(join(dataRoot, 'tmp')) ? readdirSync(join(dataRoot, 'tmp')) : [];
  if (temporary.length > 0) complain('leaks', `temporary files: ${temporary.slice(0, 5).join(', ')}`);
  return { ...result, before, after };
}

function startReader(mountpoint, tree, random) {
  const args = [READER, mountpoint, tree, String(Math.floor(random() * 2 ** 31))];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const output = text(child.stdout);
  const exit = once(child, 'exit');
  return {
    async stop() {
      child.stdin.end();
      const [code, signal] = await exit;
      if (code === 0) return JSON.parse(await output);
      const message = `a reader ended with ${signal ?? code}`;
      return { reads: 0, bytes: 0, wrong: 0, errors: 1, messages: [message] };
    },
  };
}

/** Files below `dir` that loop devices stand on. The kernel clears them a moment after a mount is gone. */
async function loopFiles(dir) {
  const find = () =>
    readdirSync('/sys/block').flatMap((name) => {
      try {
        const file = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim();
        return file.startsWith(`${dir}/`) ? [file] : [];
      } catch {
        return [];
      }
    });
  for (const end = Date.now() + LOOP_PATIENCE; find().length > 0 && Date.now() < end; ) await sleep(20);
  return find();
}

function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

function resourcesOf({ pid, supervisorPid }) {
  return {
    daemonDescriptors: readdirSync(`/proc/${pid}/fd`).length,
    supervisorDescriptors: readdirSync(`/proc/${supervisorPid}/fd`).length,
    daemonBytes: residentBytes(pid),
    supervisorBytes: residentBytes(supervisorPid),
  };
}

function residentBytes(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) * 1024;
}
