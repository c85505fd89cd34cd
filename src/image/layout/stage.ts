import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileLock, lockExistingDirectory } from '../../os/file-lock.js';
import { isAlive } from '../../os/process.js';
import { removeTree } from '../../os/remove-tree.js';

/** Start of the name of the hidden directory that a writer stages in; the writer's process id follows. */
const STAGE_PREFIX = '.rafter-stage-';
/** How long a stage that cannot be locked must have been idle before it counts as left behind. */
const DEAD_STAGE_MS = 24 * 3600 * 1000;

/** A hidden directory for what a writer has not published yet. */
export interface Stage {
  path: string;
  /** Ends the claim to it: to be called when it has been removed or published by renaming it. */
  release(): void;
}

/**
 * Makes a stage in `parent`. As long as this process lives, and until `release`, it holds the directory's lock (flock(2)).
 * The stages of writers that were killed, which nobody holds any more, are removed.
 */
export async function createStage(parent: string): Promise<Stage> {
  // Its error names the directory rather than what was to be made there.
  await access(parent, constants.W_OK);
  for (;;) {
    const path = join(parent, `${STAGE_PREFIX}${process.pid}-${randomBytes(8).toString('hex')}`);
    await mkdir(path);
    // Somebody in another pid namespace may take a stage for dead before it is locked, and remove it.
    const lock = claim(path);
    if (lock === 'gone') continue;
    const release = () => {
      if (lock !== 'unlockable') lock.release();
    };
    try {
      await removeDeadStages(parent, (await stat(path)).uid);
      return { path, release };
    } catch (error) {
      removeTree(path);
      release();
      throw error;
    }
  }
}

/** The directory's lock; or that it is somebody's or gone, or that nothing can be locked there. */
function claim(path: string): FileLock | 'gone' | 'unlockable' {
  try {
    return lockExistingDirectory(path) ?? 'gone';
  } catch {
    return 'unlockable';
  }
}

/** True for the name of a directory that some writer stages in. */
export function isStage(name: string): boolean {
  return name.startsWith(STAGE_PREFIX);
}

/**
 * Removes what killed writers left behind: stages whose process does not exist and that nobody has locked. Where directories
 * cannot be locked they must have been idle for a day, as a process id may mean something else here than in another pid
 * namespace or on another machine. Those of another owner are his.
 */
async function removeDeadStages(parent: string, owner: number): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = /^(\d+)-[0-9a-f]{16}$/.exec(name.slice(STAGE_PREFIX.length))?.[1];
    if (!isStage(name) || pid === undefined || isAlive(Number(pid))) continue;
    const path = join(parent, name);
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isDirectory() || found.uid !== owner) continue;
    const lock = claim(path);
    if (lock === 'gone' || (lock === 'unlockable' && !(await isIdle(path)))) continue;
    removeTree(path);
    if (lock !== 'unlockable') lock.release();
  }
}

async function isIdle(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info !== undefined && Date.now() - info.mtimeMs > DEAD_STAGE_MS;
}
