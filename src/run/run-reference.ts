import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isRafterError, RafterError } from '../errors.js';
import type { MountRequest, MountResult } from '../mount/api.js';
import { mountImage, mountTrace, unmountImage } from '../mount/client.js';
import { prepareRunDir } from '../mount/run-dir.js';
import type { DaemonPlace } from '../mount/start-daemon.js';
import type { StepClock } from '../mount/steps.js';
import { type FileLock, lockExistingFile, lockFile } from '../os/file-lock.js';
import type { RunOptions } from './options.js';

export interface RunReferenceRequest {
  /** The daemon that serves the image's tree. */
  daemon: DaemonPlace;
  /** The image and how to reach it. */
  image: Omit<MountRequest, 'mountpoint' | 'trace'>;
  options: RunOptions;
  /** Where the trace of the run is written, an absolute path; default: nothing is recorded. */
  trace?: string;
  /** Aborting it ends the container as SIGTERM does. */
  signal?: AbortSignal | undefined;
  /** Hears what the container writes to standard output. Not for one with a terminal. */
  onOutput?: ((bytes: Buffer) => void) | undefined;
  /** Told what was mounted, just before the container starts: from then on signals go to the container. */
  onMounted: (mounted: MountResult) => void;
  /** Hears of the steps until the container's process is started. */
  clock?: StepClock | undefined;
}

const LOCK_SUFFIX = '.lock';
const NEW_SUFFIX = '.new';

/**
 * Mounts an image through the daemon, runs it as `runImage` does, and unmounts it again, whatever happens. Mounts of
 * earlier runs whose process was killed are taken away first.
 * Returns the exit code; throws what `mountImage` and `runImage` throw, DENIED for users other than root, and FAILED if the trace
 * cannot be written.
 */
export async function runReference(request: RunReferenceRequest): Promise<number> {
  const { daemon, image, options, trace, onMounted, clock } = request;
  if (process.geteuid?.() !== 0)
    throw new RafterError('DENIED', 'running a container needs root', {
      hint: 'sudo rafter run ...; looking into an image needs no root: rafter ls, cat and inspect',
    });
  const place = { runDir: daemon.runDir };
  await prepareRunDir(daemon.runDir);
  const parent = join(daemon.runDir, 'images');
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  await removeStale(parent, place);
  const mountpoint = join(parent, randomBytes(6).toString('hex'));
  // By its name nobody may find it before it is locked.
  const lock = lockFile(mountpoint + NEW_SUFFIX);
  renameSync(mountpoint + NEW_SUFFIX, mountpoint + LOCK_SUFFIX);
  let removal: Promise<void> | undefined;
  const remove = () => {
    removal ??= removeMount(mountpoint, lock, place);
    return removal;
  };
  try {
    mkdirSync(mountpoint, { mode: 0o755 });
    if (trace !== undefined) await (await import('../mount/trace-file.js')).checkTraceFile(trace);
    const wanted = { ...image, mountpoint, ...(trace !== undefined && { trace: {} }) };
    const mounted = await mountImage(daemon, wanted, { clock, onAsked: loadAhead });
    const { parseImageConfig, resolveCommand, runImage } = await import('./running.js');
    const config = parseImageConfig(Buffer.from(JSON.stringify(mounted.config)), image.reference);
    onMounted(mounted);
    const exitCode = await runImage({
      lower: mountpoint,
      config,
      options,
      runDir: daemon.runDir,
      dataRoot: daemon.dataRoot,
      signal: request.signal,
      onOutput: request.onOutput,
      // The daemon unmounts while the container's directory is removed. A trace must be had before.
      onUnmounted: trace === undefined ? () => void remove().catch(() => {}) : undefined,
      clock,
    });
    if (trace !== undefined) {
      const { writeTraceFile } = await import('../mount/trace-file.js');
      const command = resolveCommand(config.config, options);
      await writeTraceFile(trace, { ...(await mountTrace(place, { id: mounted.id })), command });
    }
    return exitCode;
  } finally {
    await remove();
  }
}

/** Loads what is needed when the image is mounted. Whoever imports it then hears of errors. */
function loadAhead(): void {
  import('./running.js').catch(() => {});
}

/** A lock that can be taken belongs to a dead process, and so does the mount beside it. */
async function removeStale(parent: string, place: { runDir: string }): Promise<void> {
  for (const name of readdirSync(parent).filter((file) => file.endsWith(LOCK_SUFFIX))) {
    const lock = lockExistingFile(join(parent, name));
    if (lock === undefined) continue;
    await removeMount(join(parent, name.slice(0, -LOCK_SUFFIX.length)), lock, place);
  }
}

async function removeMount(mountpoint: string, lock: FileLock, place: { runDir: string }): Promise<void> {
  try {
    await unmountImage(place, { mountpoint }, { force: true });
  } catch (error) {
    if (!isRafterError(error, 'NOT_FOUND')) throw error;
  } finally {
    // rmdir, not a recursive removal: what is still mounted must not be touched.
    await rmdir(mountpoint).catch(() => {});
    await rm(mountpoint + LOCK_SUFFIX, { force: true });
    lock.release();
  }
}
