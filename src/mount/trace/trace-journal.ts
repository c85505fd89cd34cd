import { appendFile, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from '../../errors.js';
import { makeDirectories } from '../../os/make-directories.js';
import { formatTouch, formatTrace, parseTrace, type Trace } from '../../trace/trace.js';
import type { TraceMemory } from './trace-memory.js';

/** How often new touches are written, in milliseconds: what a daemon loses that is killed. */
const INTERVAL = 1000;

/** A running trace on disk, for the daemon that goes on when this one dies. */
export interface TraceJournal {
  /** Writes what is new. */
  flush(): Promise<void>;
  /** Ends the writing and removes the file. */
  remove(): Promise<void>;
}

/**
 * Writes the touches in `memory` to `path` as they come: a trace without its last line. `header` is its first, for a file
 * that is not there yet; otherwise the first `known` touches are in it. `onError` is told when writing fails, once.
 */
export function keepJournal(
  path: string,
  memory: TraceMemory,
  { header, known = 0, onError }: { header?: Trace; known?: number; onError: (error: unknown) => void },
): TraceJournal {
  let written = known;
  let failed = false;
  let last = Promise.resolve();

  async function append(text: string): Promise<void> {
    if (failed || text === '') return;
    try {
      await makeDirectories(dirname(path), 0o700);
      await appendFile(path, text, { mode: 0o600 });
    } catch (error) {
      // Half a line would make the rest of the file worthless.
      failed = true;
      onError(error);
    }
  }

  function flush(): Promise<void> {
    last = last.then(() => {
      const touches = memory.touches(written);
      written += touches.length;
      return append(touches.map((touch) => `${formatTouch(touch)}\n`).join(''));
    });
    return last;
  }

  if (header !== undefined) {
    const [line] = formatTrace({ ...header, touches: [] })
      .toString()
      .split('\n', 1);
    last = append(`${line}\n`);
  }
  const timer = setInterval(flush, INTERVAL).unref();
  return {
    flush,
    async remove() {
      clearInterval(timer);
      await last;
      await rm(path, { force: true });
    },
  };
}

const SUFFIX = '.trace';

/** Where the journal of mount `id` is. */
export function journalPath(directory: string, id: string): string {
  return join(directory, `${id}${SUFFIX}`);
}

/** Removes the journals of all mounts but those in `ids`. */
export async function removeOtherJournals(directory: string, ids: ReadonlySet<string>): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names)
    if (name.endsWith(SUFFIX) && !ids.has(name.slice(0, -SUFFIX.length)))
      await rm(join(directory, name), { force: true });
}

/** What an earlier daemon wrote, without a line that it did not finish; undefined if there is nothing. */
export async function readJournal(path: string): Promise<Trace | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const lines = bytes.subarray(0, bytes.lastIndexOf('\n') + 1);
  const touches = Math.max(lines.toString('latin1').split('\n').length - 2, 0);
  return parseTrace(Buffer.concat([lines, Buffer.from(`{"touches":${touches}}\n`)]), path);
}
