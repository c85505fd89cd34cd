import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileLock, lockExistingFile, lockFile } from '../os/file-lock.js';
import { unmountOverlay } from '../os/overlay.js';
import { deleteContainer } from './runc.js';

/** Held while the container lives; its text is runc's root directory, so that whoever cleans up finds the container. */
const LOCK_NAME = 'lock';
/** Directories that begin with it are being made; nobody else touches them. */
const NEW_PREFIX = '.new-';

/** Everything of one container that is on disk. */
export interface ContainerDirectory {
  /** Name of the container, and of its directory. */
  id: string;
  /** The bundle (runtime-spec, bundle.md), with the overlay's upper tree in it. */
  path: string;
  /** Where the root file system is mounted. */
  rootfs: string;
  /** Ends the container if it lives, unmounts and removes everything. */
  remove(): Promise<void>;
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
  const id = `rafter-${randomBytes(6).toString('hex')}`;
  const path = join(parent, id);
  const draft = join(parent, NEW_PREFIX + id);
  mkdirSync(parent, { recursive: true, mode: 0o711 });
  mkdirSync(join(draft, 'rootfs'), { recursive: true, mode: 0o711 });
  writeFileSync(join(draft, LOCK_NAME), runcRoot);
  const lock = lockFile(join(draft, LOCK_NAME));
  renameSync(draft, path);
  return {
    id,
    path,
    rootfs: join(path, 'rootfs'),
    remove: () => removeDirectory(path, { id, runc, runcRoot, lock }),
  };
}

/** Removes what containers left behind whose rafter was killed, running processes included. */
export async function removeStaleContainers(parent: string, runc: string): Promise<void> {
  const ids = existsSync(parent) ? readdirSync(parent).filter((name) => !name.startsWith(NEW_PREFIX)) : [];
  for (const id of ids) {
    const path = join(parent, id);
    const lock = lockExistingFile(join(path, LOCK_NAME));
    // It is alive, or just being removed by another process.
    if (lock === undefined) continue;
    const runcRoot = readFileSync(join(path, LOCK_NAME), 'utf8');
    await removeDirectory(path, { id, runc, runcRoot, lock });
  }
}

interface Removal {
  id: string;
  runc: string;
  runcRoot: string;
  lock: FileLock;
}

async function removeDirectory(path: string, { id, runc, runcRoot, lock }: Removal): Promise<void> {
  try {
    await deleteContainer(runc, runcRoot, id);
    await unmountOverlay(join(path, 'rootfs'));
    // The lock last: without it nobody would take up what an interruption leaves.
    for (const name of await readdir(path))
      if (name !== LOCK_NAME) await rm(join(path, name), { recursive: true, force: true });
    await rm(path, { recursive: true, force: true });
  } finally {
    lock.release();
  }
}
