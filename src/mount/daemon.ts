import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CacheStore } from '../cache/store.js';
import { isRafterError, RafterError } from '../errors.js';
import { type FileLock, lockFile } from '../os/file-lock.js';
import type { DaemonStatus } from './api.js';
import { callDaemon } from './api-client.js';
import { createApiServer } from './api-server.js';
import { createCacheService } from './cache-service.js';
import { type DaemonLog, openDaemonLog } from './daemon-log.js';
import { createDrivers } from './drivers.js';
import { createIdleTimer } from './idle-timer.js';
import { openImageStore } from './image-store.js';
import { cleanUpDeadMounts } from './mount-state.js';
import { MountTable } from './mount-table.js';
import { prepareRunDir, type RunFiles } from './run-dir.js';
import { parseSavedState, type SavedState } from './saved-mounts.js';
import { supervisorCommand } from './supervisor-command.js';
import { connectSupervisor, type SupervisorLink } from './supervisor-link.js';

export interface DaemonOptions {
  /** Directory of socket, lock, log and state; absolute. */
  runDir: string;
  /** Directory of images and cache; absolute. One daemon per data root, too. */
  dataRoot: string;
  /** Version of the program, for status. */
  version: string;
  /** End after so many seconds without a mount or a request; 0 never ends. Default 0. */
  idleSeconds?: number;
  /** Bytes that the cache may have on the disk; default: as many as there are. */
  cacheSize?: number | undefined;
  /** Program and arguments that run this daemon, for a supervisor after the death of the one that started it. */
  command?: readonly string[];
}

/** How long a daemon that does not answer may hold the lock, and how often to look, in milliseconds. */
const LOCK_PATIENCE = 10_000;
const LOCK_POLL = 20;
/** How long the lock of the cache may be held after that of the run directory is free, in milliseconds. */
const CACHE_PATIENCE = 2_000;

/**
 * Runs the node daemon in this process until SIGTERM, SIGINT, a shutdown request or idleness ends it. Then everything is
 * unmounted (in use or not), caches are closed and the socket is gone. An upgrade request ends it too, but its mounts stay for
 * the next daemon: the caller must end the process at once then. Returns what ended it.
 * Throws BUSY if another daemon serves the run directory or uses the data root.
 */
export async function runDaemon(options: DaemonOptions): Promise<'stop' | 'upgrade'> {
  const { runDir, dataRoot } = options;
  const files = await prepareRunDir(runDir);
  const lock = await takeLock(files, runDir);
  const log = openDaemonLog(files.log);
  try {
    const command = supervisorCommand(runDir, options.command ?? []);
    const supervisor = await connectSupervisor({ supervisor: command, log });
    const left = parseSavedState(supervisor.inheritance.state);
    await cleanUpDeadMounts(files.state, log, new Set(left.mounts.map(({ info }) => info.id)));
    const cache = await patiently(() =>
      CacheStore.open(join(dataRoot, 'cache'), {
        limit: options.cacheSize,
        onWarning: (message, error) => log.warn(message, { error }),
      }),
    );
    try {
      return await serve(options, { files, log, cache, supervisor, left });
    } finally {
      await cache.close();
    }
  } catch (error) {
    log.error('the daemon failed', { error });
    throw error;
  } finally {
    lock.release();
  }
}

/**
 * The lock of the run directory. A daemon that was killed may hold it for a moment after it stopped answering: until its
 * last thread is gone. One that answers is there to stay.
 */
async function takeLock(files: RunFiles, runDir: string): Promise<FileLock> {
  for (const end = Date.now() + LOCK_PATIENCE; ; await sleep(LOCK_POLL)) {
    try {
      return lockFile(files.lock);
    } catch (error) {
      if (!isRafterError(error, 'BUSY')) throw error;
      const answers = await callDaemon(files.socket, 'GET /v1/status').then(
        () => true,
        () => false,
      );
      if (answers || Date.now() > end)
        throw new RafterError('BUSY', `another daemon serves ${runDir}`, { cause: error });
    }
  }
}

/** A daemon that was killed gives up the lock of the cache a moment after that of the run directory. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + CACHE_PATIENCE; ; await sleep(LOCK_POLL)) {
    try {
      return await work();
    } catch (error) {
      if (!isRafterError(error, 'BUSY') || Date.now() > end) throw error;
    }
  }
}

interface Surroundings {
  files: RunFiles;
  log: DaemonLog;
  cache: CacheStore;
  supervisor: SupervisorLink;
  /** What a predecessor was serving. */
  left: SavedState;
}

/** Listens, works until it is told to stop, and takes everything down again. */
async function serve(
  { runDir, dataRoot, version, idleSeconds = 0 }: DaemonOptions,
  { files, log, cache, supervisor, left }: Surroundings,
): Promise<'stop' | 'upgrade'> {
  const store = openImageStore(join(dataRoot, 'images'));
  const startedAt = new Date().toISOString();
  const stop = createStopSignal(log);
  const drivers = createDrivers({
    runDir,
    tempDir: join(dataRoot, 'tmp'),
    log,
    supervisor,
    onFailed: (error) => {
      log.error('the thread that reads the FUSE device failed', { error, stack: error.stack });
      stop.request('nothing is served any more');
    },
  });
  const table = new MountTable({ store, cache, log, drivers, supervisor }, files.state);
  /** The command of the daemon that is to take over. */
  let successor: string[] | undefined;
  const idle = createIdleTimer(idleSeconds, () => stop.request('idle'));
  const status = (): DaemonStatus => ({
    pid: process.pid,
    ...(supervisor.supervisorPid !== undefined && { supervisorPid: supervisor.supervisorPid }),
    version,
    startReason: supervisor.inheritance.reason,
    startedAt,
    runDir,
    dataRoot,
    drivers: process.geteuid?.() === 0 ? ['erofs', 'fuse'] : ['fuse'],
    mounts: table.list().length,
    cache: {
      dir: cache.dir,
      stats: cache.stats,
      ...(cache.quota && { quota: cache.quota }),
      ...(cache.problem !== undefined && { problem: cache.problem }),
    },
    residentBytes: process.memoryUsage.rss(),
  });
  const mounted = () => table.list().map(({ digest }) => digest);
  const server = createApiServer({
    table,
    cache: createCacheService({ cache, store, dataRoot, mounted }),
    log,
    status,
    stopping: () => stop.requested(),
    upgrading: () => successor !== undefined,
    upgrade: (command) => {
      checkUpgrade(table, supervisor);
      successor = command;
      stop.request('upgrade');
    },
    onRequest: (change) => idle.change(change),
    shutdown: async () => {
      stop.request('shutdown request');
      await table.unmountAll();
    },
  });
  idle.watch(() => table.busy);
  try {
    await table.resume(left);
    await listen(server, files.socket);
    supervisor.ready();
    const { reason } = supervisor.inheritance;
    log.info('listening', { pid: process.pid, version, runDir, dataRoot, idleSeconds, reason });
    await stop.promise;
    if (successor !== undefined) {
      idle.close();
      await rm(files.socket, { force: true });
      table.interrupt();
      await closeServer(server);
      // First no more answers: what readers are told must be part of what the successor is told.
      await drivers.handOver();
      await table.handOver();
      // Should this process be killed from here on, the supervisor starts the successor all the same.
      await supervisor.leave({ handOver: true, command: successor });
      log.info('handed over', { pid: process.pid });
      return 'upgrade';
    }
    await takeDown();
    return 'stop';
  } catch (error) {
    await takeDown();
    throw error;
  }

  async function takeDown(): Promise<void> {
    idle.close();
    // The socket goes first: from here on clients start another daemon instead of waiting for this one.
    await rm(files.socket, { force: true });
    const closed = closeServer(server);
    table.interrupt();
    await table.unmountAll();
    await closed;
    // A request that was just about to succeed has made a mount meanwhile.
    await table.unmountAll();
    await drivers.close();
    await supervisor.leave({ handOver: false });
    stop.close();
    log.info('stopped', { pid: process.pid });
  }
}

/** Throws UNSUPPORTED or BUSY if mounts would be lost. */
function checkUpgrade(table: MountTable, { supervisorPid }: SupervisorLink): void {
  if (supervisorPid === undefined)
    throw new RafterError('UNSUPPORTED', 'the daemon has no supervisor to hold its mounts meanwhile', {
      hint: 'unmount everything and start it again',
    });
  const [lost] = table.unkept;
  if (lost !== undefined)
    throw new RafterError(
      'BUSY',
      `${lost.mountpoint} is mounted through libfuse, which ends with the daemon`,
      {
        hint: 'unmount it first',
      },
    );
}

/** Takes no more connections; resolves when all requests have been answered. */
async function closeServer(server: Server): Promise<void> {
  const closed = server.listening ? once(server, 'close') : undefined;
  server.close();
  await closed;
}

async function listen(server: Server, socket: string): Promise<void> {
  await rm(socket, { force: true });
  server.listen(socket);
  await once(server, 'listening');
  await chmod(socket, 0o600);
}

/**
 * What ends the daemon. Exceptions that nothing caught do not: they are logged, and the containers that stand on the
 * mounts go on; every byte is verified before it is served, whatever state the rest is in.
 */
function createStopSignal(log: DaemonLog) {
  let requested = false;
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  const request = (reason: string) => {
    if (!requested) log.info('stopping', { reason });
    requested = true;
    resolve();
  };
  const uncaught = (error: unknown) =>
    log.error('nothing caught this', { error, stack: (error as Error | undefined)?.stack });
  // A second signal means now: what is left mounted is taken away by the next daemon.
  const onSignal = (name: string) => (requested ? process.exit(1) : request(name));
  const handlers = {
    SIGTERM: () => onSignal('SIGTERM'),
    SIGINT: () => onSignal('SIGINT'),
    uncaughtException: uncaught,
    unhandledRejection: uncaught,
  };
  for (const [event, handler] of Object.entries(handlers)) process.on(event, handler);
  const close = () => {
    for (const [event, handler] of Object.entries(handlers)) process.off(event, handler);
  };
  return { promise, request, requested: () => requested, close };
}
