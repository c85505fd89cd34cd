import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { CacheStore } from '../../cache/store.js';
import { RafterError } from '../../errors.js';
import { notifyManager } from '../../os/notify.js';
import { preparePrivateDirectory } from '../../os/private-directory.js';
import type { DaemonStatus } from '../api/api.js';
import { prepareRunDir, type RunFiles } from '../client/run-dir.js';
import { type DaemonLog, openDaemonLog } from '../daemon-log.js';
import { createDrivers } from '../drivers/drivers.js';
import { openImageStore } from '../image/image-store.js';
import { OpenedImages } from '../image/opened-images.js';
import { KeptImages } from '../kept-images.js';
import type { LogLevel } from '../log-file.js';
import { createMeters } from '../meters.js';
import { cleanUpDeadMounts } from '../mount-state.js';
import { supervisorCommand } from '../supervisor/supervisor-command.js';
import { connectSupervisor, type SupervisorLink } from '../supervisor/supervisor-link.js';
import { createWritableTrees } from '../writable-trees.js';
import { createApiServer } from './api-server.js';
import { createCacheService } from './cache-service.js';
import { patiently, takeLock } from './daemon-lock.js';
import { createIdleTimer } from './idle-timer.js';
import { releaseMemory, releaseMemoryAtRest } from './memory-release.js';
import { collectMetrics } from './metrics.js';
import { type ListenAddress, serveMetrics } from './metrics-server.js';
import { MountTable } from './mount-table.js';
import { parseSavedState, type SavedState } from './saved-mounts.js';
import { API_SOCKET, takeActivatedSocket } from './service-manager.js';
import { createStopSignal } from './stop-signal.js';

/** When a daemon that nobody has asked for a mount yet gets ready for one, in milliseconds after its start. */
const PREPARATION_DELAY_MS = 500;

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
  /** The least important lines in the log; default `info`. */
  logLevel?: LogLevel | undefined;
  /** Where metrics are offered over TCP, besides the socket; default: nowhere. */
  metrics?: ListenAddress | undefined;
  /** Program and arguments that run this daemon, for a supervisor after the death of the one that started it. */
  command?: readonly string[];
}

/**
 * Runs the node daemon in this process until SIGTERM, SIGINT, a shutdown request or idleness ends it. Then everything is
 * unmounted (in use or not), caches are closed and the socket is gone. An upgrade request ends it too, but its mounts stay for
 * the next daemon: the caller must end the process at once then. Returns what ended it.
 * Throws BUSY if another daemon serves the run directory or uses the data root.
 */
export async function runDaemon(options: DaemonOptions): Promise<'stop' | 'upgrade'> {
  const { runDir, dataRoot } = options;
  const files = prepareRunDir(runDir);
  const lock = await takeLock(files, runDir);
  const log = openDaemonLog(files.log, { level: options.logLevel ?? 'info' });
  try {
    const command = supervisorCommand(runDir, options.command ?? []);
    const supervisor = await connectSupervisor({ supervisor: command, log });
    const left = parseSavedState(supervisor.inheritance.state);
    await cleanUpDeadMounts(files.state, log, new Set(left.mounts.map(({ info }) => info.id)));
    preparePrivateDirectory(dataRoot, '--data-root');
    const kept = new KeptImages(log);
    const cache = await patiently(() =>
      CacheStore.open(join(dataRoot, 'cache'), {
        limit: options.cacheSize,
        onFull: () => kept.clear(),
        onWarning: (message, error) => log.warn(message, { error }),
      }),
    );
    try {
      return await serve(options, { files, log, cache, kept, supervisor, left });
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

interface Surroundings {
  files: RunFiles;
  log: DaemonLog;
  cache: CacheStore;
  kept: KeptImages;
  supervisor: SupervisorLink;
  /** What a predecessor was serving. */
  left: SavedState;
}

/** Listens, works until it is told to stop, and takes everything down again. */
async function serve(
  { runDir, dataRoot, version, idleSeconds = 0, metrics: metricsAddress }: DaemonOptions,
  { files, log, cache, kept, supervisor, left }: Surroundings,
): Promise<'stop' | 'upgrade'> {
  const store = openImageStore(join(dataRoot, 'images'));
  const startedAt = new Date().toISOString();
  const stop = createStopSignal(log);
  const meters = createMeters();
  const tempDir = join(dataRoot, 'tmp');
  const drivers = createDrivers({
    runDir,
    tempDir,
    log,
    supervisor,
    meters,
    onFailed: (error) => {
      log.error('the thread that reads the FUSE device failed', { error, stack: error.stack });
      stop.request('nothing is served any more');
    },
  });
  const writable = createWritableTrees({ runDir, dataRoot, log });
  const memory = releaseMemoryAtRest({
    release(deeply) {
      drivers.rest();
      releaseMemory(deeply);
    },
  });
  const table = new MountTable(
    {
      store,
      opened: new OpenedImages({ onIdle: () => memory.isDue() }),
      kept,
      cache,
      tempDir,
      log,
      drivers,
      supervisor,
      meters,
      writable,
      traceDir: files.traces,
    },
    files.state,
  );
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
    kept: kept.size,
    cache: {
      dir: cache.dir,
      stats: cache.stats,
      ...(cache.quota && { quota: cache.quota }),
      ...(cache.problem !== undefined && { problem: cache.problem }),
    },
    residentBytes: process.memoryUsage.rss(),
  });
  const metrics = () => collectMetrics({ version, cache, meters, mounts: () => table.list() });
  const mounted = () => table.list().map(({ digest }) => digest);
  const server = createApiServer({
    table,
    cache: createCacheService({ cache, store, dataRoot, mounted, giveUpKept: () => kept.clear() }),
    log,
    meters,
    metrics,
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
  let metricsServer: Server | undefined;
  let preparation: NodeJS.Timeout | undefined;
  const activated = supervisor.inheritance.descriptors[API_SOCKET] ?? takeActivatedSocket();
  idle.watch(() => table.busy);
  try {
    const { reason } = supervisor.inheritance;
    metricsServer = await offerMetrics();
    await table.resume(left);
    await listen(server, activated === undefined ? files.socket : { fd: activated });
    supervisor.ready();
    notifyManager({ READY: '1', MAINPID: String(supervisor.supervisorPid ?? process.pid) });
    preparation = setTimeout(() => drivers.prepare(), PREPARATION_DELAY_MS).unref();
    log.info('listening', { pid: process.pid, version, runDir, dataRoot, idleSeconds, reason });
    await stop.promise;
    if (successor !== undefined) {
      clearTimeout(preparation);
      memory.stop();
      idle.close();
      notifyManager({ RELOADING: '1', MONOTONIC_USEC: String(process.hrtime.bigint() / 1000n) });
      await removeSocket();
      table.interrupt();
      await Promise.all([closeServer(server), closeServer(metricsServer)]);
      await kept.clear();
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

  /** A daemon that has mounts to go on with does so also where somebody else has taken the port meanwhile. */
  async function offerMetrics(): Promise<Server | undefined> {
    if (metricsAddress === undefined) return undefined;
    try {
      const { server, address } = await serveMetrics(metricsAddress, metrics);
      log.info('offering metrics', { address });
      return server;
    } catch (error) {
      if (supervisor.inheritance.reason === 'start') throw error;
      log.error('no metrics over TCP', { error });
      return undefined;
    }
  }

  /** A service manager's stays: it starts another daemon when somebody asks for one. */
  async function removeSocket(): Promise<void> {
    if (activated === undefined) await rm(files.socket, { force: true });
  }

  async function takeDown(): Promise<void> {
    clearTimeout(preparation);
    memory.stop();
    idle.close();
    notifyManager({ STOPPING: '1' });
    // The socket goes first: from here on clients start another daemon instead of waiting for this one.
    await removeSocket();
    const closed = Promise.all([closeServer(server), closeServer(metricsServer)]);
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
async function closeServer(server: Server | undefined): Promise<void> {
  if (server === undefined) return;
  const closed = server.listening ? once(server, 'close') : undefined;
  server.close();
  await closed;
}

async function listen(server: Server, where: string | { fd: number }): Promise<void> {
  if (typeof where === 'string') await rm(where, { force: true });
  server.listen(where);
  await once(server, 'listening');
  if (typeof where === 'string') await chmod(where, 0o600);
}
