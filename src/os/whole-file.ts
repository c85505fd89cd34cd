import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, RafterError } from '../errors.js';
import { explainFull } from './disk-full.js';

/** Ends the names of files that are not finished; what looks for leftovers goes by it. */
export const TEMPORARY_SUFFIX = '.tmp';

export interface WholeFileOptions {
  /** Permission bits of the file. */
  mode: number;
  /** Also makes the name durable, not only the content: after a crash of the machine the file is there. */
  durable?: boolean;
  /** False: nobody waits for the disk, and a crash of the machine may leave nothing or a part, which readers must notice. Default true. */
  synced?: boolean;
  /** Whose the file is; default: this process's. */
  owner?: { uid: number; gid: number };
}

/** Writes `content` as `path`, in place of what was there: whole and on the disk when this returns (unless `synced` is false), or not at all. NO_SPACE if it does not fit. */
export async function writeWholeFile(
  path: string,
  content: string | Buffer,
  { mode, durable = false, synced = true, owner }: WholeFileOptions,
): Promise<void> {
  await fillWholeFile(path, async (temporary) => {
    const handle = await open(temporary, 'wx', mode);
    try {
      if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
      await handle.writeFile(content);
      if (synced) await handle.sync();
    } finally {
      await handle.close();
    }
  });
  if (durable) await syncDirectory(dirname(path));
}

/**
 * The same without waiting for the disk, and at once: for a few kilobytes that somebody waits for. Threads, which else do each step,
 * make 3 ms of it.
 */
export function writeWholeFileSync(path: string, content: string, { mode }: { mode: number }): void {
  const temporary = temporaryName(path);
  try {
    writeFileSync(temporary, content, { mode, flag: 'wx' });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw explainMissing(explainFull(error, path), path);
  }
}

/**
 * Lets `fill` write a temporary file beside `path` and renames it, in place of what was there. Nobody waits for the disk here: what a crash
 * of the machine may leave of the file is the caller's to see to. Throws what `fill` throws, NO_SPACE if it does not fit.
 */
export async function fillWholeFile(path: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await fill(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw explainMissing(explainFull(error, path), path);
  }
}

/** A name of its own: of two writers at once each leaves a whole file. */
function temporaryName(path: string): string {
  return `${path}.${process.pid}-${randomBytes(4).toString('hex')}${TEMPORARY_SUFFIX}`;
}

/** An error that names what was asked for, or the directory that is missing, rather than a temporary file. */
function explainMissing(error: unknown, path: string): unknown {
  if (errnoOf(error) !== 'ENOENT' || existsSync(dirname(path)))
    return errnoOf(error) === undefined ? error : Object.assign(error as Error, { path });
  return new RafterError('NOT_FOUND', `${path}: there is no directory ${dirname(path)}`, {
    cause: error,
    hint: `create it first: mkdir -p ${dirname(path)}`,
  });
}

/** Waits until the names in `directory` are on the disk. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
