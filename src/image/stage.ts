import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';

/** Start of the name of the hidden directory that a writer stages in; the writer's process id follows. */
const STAGE_PREFIX = '.rafter-stage-';
/** How long a stage must have been idle before it counts as left behind. */
const DEAD_STAGE_MS = 24 * 3600 * 1000;

/**
 * Makes a hidden directory in `parent` for what a writer has not published yet, and returns its path. Those of writers that
 * were killed are removed.
 */
export async function createStage(parent: string): Promise<string> {
  await removeDeadStages(parent);
  const stage = join(parent, `${STAGE_PREFIX}${process.pid}-${randomBytes(8).toString('hex')}`);
  await mkdir(stage);
  return stage;
}

/** True for the name of a directory that some writer stages in. */
export function isStage(name: string): boolean {
  return name.startsWith(STAGE_PREFIX);
}

/**
 * Removes what killed writers left behind: stages that have been idle for a day and whose process does not exist. The day is for
 * process ids that mean something else here, in another pid namespace or on another machine.
 */
async function removeDeadStages(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = /^(\d+)-[0-9a-f]{16}$/.exec(name.slice(STAGE_PREFIX.length))?.[1];
    if (!isStage(name) || pid === undefined || isAlive(Number(pid))) continue;
    const info = await stat(join(parent, name)).catch(() => undefined);
    if (info === undefined || Date.now() - info.mtimeMs < DEAD_STAGE_MS) continue;
    await rm(join(parent, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}
