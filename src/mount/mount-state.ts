import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { FUSE_TYPE } from '../fuse/mount-options.js';
import { unmountFuse } from '../fuse/unmount.js';
import { EROFS_TYPE } from '../os/mount-erofs.js';
import { findMount, type MountEntry } from '../os/mountinfo.js';
import { writeWholeFileSync } from '../os/whole-file.js';
import type { DaemonLog } from './daemon-log.js';

/** A mount as the state file remembers it. Nothing secret is in here. */
const recordSchema = v.object({
  id: v.string(),
  reference: v.string(),
  digest: v.string(),
  mountpoint: v.string(),
  /** `major:minor` of the mount: tells it from another that came to the same place later. */
  device: v.string(),
});
const stateSchema = v.object({ bootId: v.string(), mounts: v.array(recordSchema) });

export type MountRecord = v.InferOutput<typeof recordSchema>;

/** Writes what is mounted now, whole. Nobody waits for the disk: what was mounted before a crash of the machine counts for nothing. */
export function writeMountState(path: string, mounts: MountRecord[]): void {
  writeWholeFileSync(path, `${JSON.stringify({ bootId: bootId(), mounts })}\n`, { mode: 0o600 });
}

/**
 * Takes away the mounts that a daemon left behind when it died: nobody serves their data any more, and reads of it fail. The caller holds the lock of the run directory, so the daemon that wrote the file is dead. Mounts
 * of another boot, other mounts that stand at the same place now, and those in `except` (ids) are left alone. Returns where
 * they were.
 */
export async function cleanUpDeadMounts(
  path: string,
  log: Pick<DaemonLog, 'warn' | 'error'>,
  except: ReadonlySet<string> = new Set(),
): Promise<string[]> {
  const removed: string[] = [];
  for (const record of await readState(path)) {
    if (except.has(record.id)) continue;
    const found = await findMount(record.mountpoint);
    if (!isOurs(found, record)) continue;
    try {
      await unmountFuse(record.mountpoint, { detach: true });
      removed.push(record.mountpoint);
      log.warn('unmounted what a dead daemon left behind', { ...record });
    } catch (error) {
      log.error('cannot unmount what a dead daemon left behind', { ...record, error });
    }
  }
  return removed;
}

/** True if `path`, a canonical mount point, is one of the mounts in the state file at `statePath`. */
export async function isRecordedMount(statePath: string, path: string): Promise<boolean> {
  const found = await findMount(path);
  return (await readState(statePath)).some((record) => record.mountpoint === path && isOurs(found, record));
}

/** True if what is mounted now is what was written down. */
function isOurs(found: MountEntry | undefined, { device }: MountRecord): boolean {
  return isDriverType(found?.type) && found?.device === device;
}

/** True for the file system types that images are mounted as. */
export function isDriverType(type: string | undefined): boolean {
  return type === FUSE_TYPE || type === EROFS_TYPE;
}

async function readState(path: string): Promise<MountRecord[]> {
  try {
    const state = v.parse(stateSchema, JSON.parse(await readFile(path, 'utf8')));
    return state.bootId === bootId() ? state.mounts : [];
  } catch {
    // No file, or one that a crash left damaged: nothing is known, so nothing is touched.
    return [];
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
