import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRafterError, RafterError } from '../errors.js';
import type { RunConfig } from '../image/config.js';
import type { MountRequest, MountResult } from '../mount/api/api.js';
import { mountImage, mountTrace, unmountImage } from '../mount/client/client.js';
import { prepareRunDir } from '../mount/client/run-dir.js';
import type { DaemonPlace } from '../mount/client/start-daemon.js';
import type { StepClock } from '../mount/steps.js';
import { type FileLock, lockExistingFile, lockFile } from '../os/file-lock.js';
import { makeDirectoriesSync } from '../os/make-directories.js';
import { randomHex } from '../os/random.js';
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

/** Ends the name of a file beside the mount point, which is locked as long as the run lives. */
const LOCK_SUFFIX = '.lock';
/** The same before it is locked. */
const NEW_SUFFIX = '.new';
/** How long a run may take until it has its lock, in milliseconds. */
const LOCKED_WITHIN = 60_000;

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
  prepareRunDir(daemon.runDir);
  const parent = join(daemon.runDir, 'images');
  makeDirectoriesSync(parent, 0o700);
  const mountpoint = join(parent, randomHex(6));
  let lock: FileLock | undefined;
  // What mounting does not need is done while the daemon works at it.
  const prepare = async () => {
    lock = lockMount(mountpoint);
    await import('./running.js');
    await removeStale(parent, place);
  };
  let preparation: Promise<void> | undefined;
  const prepared = () => {
    preparation ??= prepare();
    return preparation;
  };
  let removal: Promise<void> | undefined;
  const remove = () => {
    removal ??= removeMount(mountpoint, lock, place);
    return removal;
  };
  try {
    writeFileSync(mountpoint + NEW_SUFFIX, '', { mode: 0o600, flag: 'wx' });
    mkdirSync(mountpoint, { mode: 0o755 });
    if (trace !== undefined) await (await import('../mount/trace/trace-file.js')).checkTraceFile(trace);
    const wanted = { ...image, mountpoint, reuse: true, ...(trace !== undefined && { trace: {} }) };
    // Whether preparing fails is looked at when the image is mounted.
    const onAsked = () => void prepared().catch(() => {});
    const mounted = await mountImage(daemon, wanted, { clock, onAsked });
    await prepared();
    const { resolveCommand, runImage } = await import('./running.js');
    const config = runConfigOf(mounted);
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
      onEnded: trace === undefined ? () => void remove().catch(() => {}) : undefined,
      clock,
    });
    if (trace !== undefined) {
      const { writeTraceFile } = await import('../mount/trace/trace-file.js');
      const command = resolveCommand(config, options);
      await writeTraceFile(trace, { ...(await mountTrace(place, { id: mounted.id })), command });
    }
    return exitCode;
  } finally {
    await preparation?.catch(() => {});
    await remove();
  }
}

/** How the image's container is to be run. The daemon has read the configuration, and checked it. */
function runConfigOf({ config }: MountResult): RunConfig {
  return (config.config ?? {}) as RunConfig;
}

/** By its name nobody may find the lock before it is locked. */
function lockMount(mountpoint: string): FileLock {
  const lock = lockFile(mountpoint + NEW_SUFFIX);
  renameSync(mountpoint + NEW_SUFFIX, mountpoint + LOCK_SUFFIX);
  return lock;
}

/** A lock that can be taken belongs to a dead process, and so does the mount beside it. */
async function removeStale(parent: string, place: { runDir: string }): Promise<void> {
  for (const name of readdirSync(parent)) {
    const suffix = [LOCK_SUFFIX, NEW_SUFFIX].find((end) => name.endsWith(end));
    if (suffix === undefined) continue;
    const file = join(parent, name);
    if (suffix === NEW_SUFFIX && isYoung(file)) continue;
    const lock = lockExistingFile(file);
    if (lock !== undefined) await removeMount(file.slice(0, -suffix.length), lock, place);
  }
}

/** True, too, if the file is not there any more. */
function isYoung(file: string): boolean {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined || Date.now() - found.mtimeMs < LOCKED_WITHIN;
}

async function removeMount(
  mountpoint: string,
  lock: FileLock | undefined,
  place: { runDir: string },
): Promise<void> {
  try {
    await unmountImage(place, { mountpoint }, { force: true });
  } catch (error) {
    if (!isRafterError(error, 'NOT_FOUND')) throw error;
  } finally {
    removeIfFree(mountpoint);
    for (const suffix of [NEW_SUFFIX, LOCK_SUFFIX]) rmSync(mountpoint + suffix, { force: true });
    lock?.release();
  }
}

/** Not a recursive removal: what is still mounted must not be touched. */
function removeIfFree(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // It is gone, or in use: the user hears of what kept it from being unmounted.
  }
}
