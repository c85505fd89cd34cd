import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';
import { type FileLock, lockExistingDirectory, lockExistingFile, lockFile } from '../os/file-lock.js';
import { makeDirectoriesSync } from '../os/make-directories.js';
import { unmountOverlay } from '../os/overlay.js';
import { randomHex } from '../os/random.js';
import { removeTree } from '../os/remove-tree.js';
import { deleteContainer } from './runc.js';

/** Held while the container lives; its text is runc's root directory, so that whoever cleans up finds the container. */
const LOCK_NAME = 'lock';
/** Directories that begin with it are being made, by whoever holds their lock. */
const NEW_PREFIX = '.new-';

/** Everything of one container that is on disk. */
export interface ContainerDirectory {
  /** Name of the container, and of its directory. */
  id: string;
  /** The bundle (runtime-spec, bundle.md), with the overlay's upper tree in it. */
  path: string;
  /** Where the root file system is mounted. */
  rootfs: string;
  /** Ends the container if it lives, unmounts and removes everything. `onEnded` is called when nothing reads the tree below any more. */
  remove(onEnded?: () => void): Promise<void>;
}

export interface ContainerDirectoryRequest {
  /** Directory of all containers' directories; made if it is missing. */
  parent: string;
  runc: string;
  runcRoot: string;
}

/** Makes the directory of a new container and marks it as ours for as long as this process lives. */
export function createContainerDirectory({
  parent,
  runc,
  runcRoot,
}: ContainerDirectoryRequest): ContainerDirectory {
  const id = `rafter-${randomHex(6)}`;
  const path = join(parent, id);
  makeDirectoriesSync(parent, 0o711);
  const { draft, held } = makeDraft(join(parent, NEW_PREFIX + id));
  let lock: FileLock;
  try {
    mkdirSync(join(draft, 'rootfs'), { mode: 0o711 });
    writeFileSync(join(draft, LOCK_NAME), runcRoot);
    lock = lockFile(join(draft, LOCK_NAME));
    renameSync(draft, path);
  } catch (error) {
    removeTree(draft);
    throw error;
  } finally {
    held.release();
  }
  return {
    id,
    path,
    rootfs: join(path, 'rootfs'),
    remove: (onEnded) => removeDirectory(path, { id, runc, runcRoot, lock, onEnded }),
  };
}

/**
 * Makes a directory whose name begins with `prefix`, and takes its lock. Before that another process may think that it was left
 * behind, and remove it: then it is another directory.
 */
function makeDraft(prefix: string): { draft: string; held: FileLock } {
  for (let i = 0; ; i++) {
    const draft = `${prefix}-${i}`;
    mkdirSync(draft, { mode: 0o711 });
    const held = lockExistingDirectory(draft);
    if (held !== undefined) return { draft, held };
  }
}

/**
 * Removes what was left behind of containers whose rafter was killed, running processes included, and of those that were never
 * finished.
 */
export async function removeStaleContainers(parent: string, runc: string): Promise<void> {
  for (const id of existsSync(parent) ? readdirSync(parent) : []) {
    const path = join(parent, id);
    if (id.startsWith(NEW_PREFIX)) {
      removeDraft(path);
      continue;
    }
    const lock = lockExistingFile(join(path, LOCK_NAME));
    // It is alive, or being removed: by another process, or by one that was killed when only the directory was left.
    if (lock === undefined) {
      removeIfEmpty(path);
      continue;
    }
    const runcRoot = readFileSync(join(path, LOCK_NAME), 'utf8');
    await removeDirectory(path, { id, runc, runcRoot, lock });
  }
}

function removeDraft(path: string): void {
  const held = lockExistingDirectory(path);
  try {
    if (held !== undefined) removeTree(path);
  } finally {
    held?.release();
  }
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes(errnoOf(error) ?? '')) throw error;
  }
}

interface Removal {
  id: string;
  runc: string;
  runcRoot: string;
  lock: FileLock;
  onEnded?: (() => void) | undefined;
}

async function removeDirectory(path: string, { id, runc, runcRoot, lock, onEnded }: Removal): Promise<void> {
  try {
    await deleteContainer(runc, runcRoot, id);
    onEnded?.();
    await unmountOverlay(join(path, 'rootfs'));
    // The lock last: without it nobody would take up what an interruption leaves.
    for (const name of readdirSync(path)) if (name !== LOCK_NAME) removeTree(join(path, name));
    removeTree(path);
  } finally {
    lock.release();
  }
}
