import { isAbsolute, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../../errors.js';
import { formatReference, parseReference } from '../../image/reference.js';
import { isAlive } from '../../os/process.js';
import { randomHex } from '../../os/random.js';
import type { Trace } from '../../trace/trace.js';
import type { DaemonStatus, MountInfo, MountRequest, MountResult } from '../api/api.js';
import { callDaemon, DaemonGoneError } from '../api/api-client.js';
import type { StepClock } from '../steps.js';
import { hasSupervisor, prepareRunDir, runFiles } from './run-dir.js';
import type { DaemonPlace, OnNotice } from './start-daemon.js';

/** How often to start a daemon again because the one that answered was just ending. */
const MAX_STARTS = 5;
/** Closing caches waits for the disk. */
const SHUTDOWN_DEADLINE = 60_000;
/** The new daemon may try for 20 s before the old one comes back. */
const UPGRADE_DEADLINE = 60_000;
const POLL = 20;
/** How long a daemon may take to come back after a crash. */
const RESTART_PATIENCE = 15_000;

/** What is told while an image is mounted. */
export interface MountProgress {
  /** Hears of the steps. Without one no clock is looked at: Node.js takes a millisecond to load its own. */
  clock?: StepClock | undefined;
  /** Called when a daemon has the request and works on it: time for other things. Again if another daemon has to be asked. */
  onAsked?: (() => void) | undefined;
}

interface SocketPlace {
  /** Run directory of the daemon; absolute. */
  runDir: string;
  signal?: AbortSignal | undefined;
  onNotice?: OnNotice | undefined;
}

/**
 * Mounts an image through the daemon of the run directory, which is started if none runs. Relative paths in `request` are
 * taken from this process's working directory. When `signal` is aborted the daemon undoes what it began.
 * Throws what the daemon throws (see `MountTable.mount`) and what `ensureDaemon` throws.
 */
export async function mountImage(
  place: DaemonPlace,
  request: MountRequest,
  { clock, onAsked }: MountProgress = {},
): Promise<MountResult> {
  // One that died may have mounted it and not said so; its successor knows that by the id.
  const { reuse, ...wanted } = absolutePaths(request);
  const body = { ...wanted, requestId: randomHex(16) };
  const { socket } = prepareRunDir(place.runDir);
  // A daemon of an earlier version takes no member that it does not know.
  const query = new URLSearchParams({ dataRoot: place.dataRoot, ...(reuse && { reuse: 'true' }) });
  const route = `POST /v1/mounts?${query}` as const;
  const end = Date.now() + RESTART_PATIENCE;
  for (let starts = 0; ; starts++) {
    // Most often one runs, and to ask it first whether it does would cost as much as all else that a mount of local data asks.
    if (starts > 0) {
      const { ensureDaemon } = await import('./start-daemon.js');
      const start = () => ensureDaemon(place);
      await (clock ? clock.time('start the daemon', start) : start());
    }
    const sentAt = clock && performance.now();
    try {
      const mounted = await callDaemon<MountResult>(socket, route, {
        body,
        signal: place.signal,
        onSent: onAsked,
      });
      if (sentAt !== undefined) clock?.include(mounted.steps, sentAt);
      return mounted;
    } catch (error) {
      if (!(error instanceof DaemonGoneError)) throw error;
      const restarting = hasSupervisor(place.runDir) && Date.now() < end;
      if (!restarting && starts >= MAX_STARTS) throw error;
    }
  }
}

/**
 * Unmounts by id or mount point. `force` takes it away also while files on it are open. Without a daemon, a mount that a
 * dead one left behind is taken away. Returns what it was, if the daemon that mounted it still knew.
 * Throws NOT_FOUND, or BUSY while it is in use.
 */
export async function unmountImage(
  place: SocketPlace,
  which: { id: string } | { mountpoint: string },
  { force = false }: { force?: boolean } = {},
): Promise<MountInfo | undefined> {
  const query = new URLSearchParams({
    ...('mountpoint' in which && { mountpoint: resolve(which.mountpoint) }),
    ...(force && { force: 'true' }),
  });
  const id = 'id' in which ? `/${encodeURIComponent(which.id)}` : '';
  try {
    return await callPatiently<MountInfo>(place, `DELETE /v1/mounts${id}?${query}`, (error, lost) => {
      // The one that died had done it.
      if (lost && isRafterError(error, 'NOT_FOUND')) return undefined;
      throw error;
    });
  } catch (error) {
    if (!(error instanceof DaemonGoneError)) throw error;
    if ('id' in which) throw new RafterError('NOT_FOUND', `no daemon runs, so there is no mount ${which.id}`);
    const { unmountLeftover } = await import('./leftover-mount.js');
    await unmountLeftover(place.runDir, resolve(which.mountpoint));
    return undefined;
  }
}

/** What is mounted; nothing if no daemon runs. */
export async function listMounts(place: SocketPlace): Promise<MountInfo[]> {
  return (await callIfRunning<MountInfo[]>(place, 'GET /v1/mounts')) ?? [];
}

/**
 * What was read of a mount until now, by id or mount point. Throws NOT_FOUND if there is no such mount, or if it was not mounted
 * to be traced.
 */
export async function mountTrace(
  place: SocketPlace,
  which: { id: string } | { mountpoint: string },
): Promise<Trace> {
  const id = 'id' in which ? which.id : await mountIdAt(place, which.mountpoint);
  const trace = await callIfRunning<Trace>(place, `GET /v1/mounts/${id}/trace`);
  if (trace === undefined) throw noDaemon(place.runDir);
  return trace;
}

/** What is said by commands that need the daemon of a run directory where none runs. */
export function noDaemon(runDir: string): RafterError {
  return new RafterError('NOT_FOUND', `no daemon runs for ${runDir}`, {
    hint: 'mount and run start one; one that uses another place is named with --run-dir',
  });
}

async function mountIdAt(place: SocketPlace, directory: string): Promise<string> {
  const { canonicalMountPoint, notMounted } = await import('../mount-point.js');
  const paths = [resolve(directory), await canonicalMountPoint(resolve(directory))];
  const found = (await listMounts(place)).findLast(({ mountpoint }) => paths.includes(mountpoint));
  if (found === undefined) throw notMounted(directory);
  return found.id;
}

/** The daemon's status, or undefined if none runs. */
export function daemonStatus(place: SocketPlace): Promise<DaemonStatus | undefined> {
  return callIfRunning<DaemonStatus>(place, 'GET /v1/status');
}

/**
 * Ends the daemon: when this returns everything is unmounted, in use or not, and its process and its supervisor are gone. False if
 * none ran. Throws FAILED if one of them is still there after `deadline` milliseconds.
 */
export async function shutdownDaemon(
  place: SocketPlace,
  { deadline = SHUTDOWN_DEADLINE }: { deadline?: number } = {},
): Promise<boolean> {
  const status = await daemonStatus(place);
  if (status === undefined) return false;
  await callIfRunning(place, 'POST /v1/shutdown');
  const processes = [status.pid, ...(status.supervisorPid === undefined ? [] : [status.supervisorPid])];
  const end = Date.now() + deadline;
  for (let alive = processes.filter(isAlive); alive.length > 0; alive = alive.filter(isAlive)) {
    await sleep(POLL);
    place.signal?.throwIfAborted();
    if (Date.now() > end) {
      const text = `the daemon (process ${alive.join(', ')}) did not end within ${deadline / 1000} s`;
      throw new RafterError('FAILED', text, { hint: `its log is ${runFiles(place.runDir).log}` });
    }
  }
  return true;
}

async function callIfRunning<T>(
  place: SocketPlace,
  route: Parameters<typeof callDaemon>[1],
): Promise<T | undefined> {
  try {
    return await callPatiently<T>(place, route);
  } catch (error) {
    if (!(error instanceof DaemonGoneError)) throw error;
    const [{ takeAwayDeadMounts }, { tellOfDeadMounts }] = await Promise.all([
      import('./dead-mounts.js'),
      import('./start-daemon.js'),
    ]);
    tellOfDeadMounts(await takeAwayDeadMounts(place.runDir), place);
    return undefined;
  }
}

/**
 * Asks the daemon; waits for one that is just being started again by its supervisor, and asks that. Other errors go to
 * `onError`, with whether an earlier daemon died while it worked on the same request. Throws DaemonGoneError if none runs.
 */
async function callPatiently<T>(
  { runDir, signal }: SocketPlace,
  route: Parameters<typeof callDaemon>[1],
  onError: (error: unknown, lost: boolean) => T | undefined = (error) => {
    throw error;
  },
): Promise<T | undefined> {
  const { socket } = runFiles(runDir);
  let lost = false;
  for (const end = Date.now() + RESTART_PATIENCE; ; await sleep(POLL)) {
    try {
      return await callDaemon<T>(socket, route, { signal });
    } catch (error) {
      if (!(error instanceof DaemonGoneError)) return onError(error, lost);
      lost ||= error.wasWorking;
      if (!hasSupervisor(runDir) || signal?.aborted || Date.now() > end) throw error;
    }
  }
}

/**
 * Has the daemon replaced by the one that `command`, program and arguments, runs; its mounts stay and their readers only wait.
 * Returns the status of the new one. Throws NOT_FOUND if none runs, FAILED if the new one did not come up: then the old one is back.
 */
export async function upgradeDaemon(
  place: SocketPlace,
  command: string[],
  { deadline = UPGRADE_DEADLINE }: { deadline?: number } = {},
): Promise<DaemonStatus> {
  const before = await daemonStatus(place);
  if (before === undefined) throw noDaemon(place.runDir);
  const { socket, log } = runFiles(place.runDir);
  await callDaemon(socket, 'POST /v1/upgrade', { body: { command }, signal: place.signal });
  for (const end = Date.now() + deadline; ; await sleep(POLL)) {
    const status = await daemonStatus(place);
    if (status !== undefined && status.pid !== before.pid) {
      if (status.startReason === 'upgrade') return status;
      const text = `the new daemon did not come up: version ${status.version} goes on (process ${status.pid})`;
      throw new RafterError('FAILED', text, { hint: `the log is ${log}` });
    }
    if (Date.now() > end)
      throw new RafterError('FAILED', `the upgrade took longer than ${deadline / 1000} s`, {
        hint: `the log is ${log}`,
      });
  }
}

/** The daemon has another working directory. */
function absolutePaths(request: MountRequest): MountRequest {
  const { mountpoint, access, writable, trace } = request;
  const reference = parseReference(request.reference);
  const file = (path: string | undefined) => (path === undefined || isAbsolute(path) ? path : resolve(path));
  return {
    ...request,
    mountpoint: resolve(mountpoint),
    ...(writable?.directory !== undefined && { writable: { directory: resolve(writable.directory) } }),
    reference:
      reference.transport === 'registry'
        ? request.reference
        : formatReference({ ...reference, path: resolve(reference.path) }),
    ...(trace && { trace: { ...trace, ...(trace.file !== undefined && { file: resolve(trace.file) }) } }),
    ...(access && {
      access: {
        ...access,
        caFile: file(access.caFile),
        certFile: file(access.certFile),
        keyFile: file(access.keyFile),
        dockerConfig: file(access.dockerConfig),
      },
    }),
  };
}
