import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, RafterError } from '../../errors.js';
import { type WholeFileOptions, writeWholeFile } from '../../os/whole-file.js';
import { formatTrace, type Trace } from '../../trace/trace.js';

/** Who may read a trace: the command in it may hold secrets. */
const FILE_MODE = 0o600;

/** Throws NOT_FOUND if there will be no place for a trace at `file`. */
export async function checkTraceFile(file: string): Promise<void> {
  const directory = dirname(file);
  const found = await stat(directory).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  });
  if (found?.isDirectory() !== true)
    throw new RafterError('NOT_FOUND', `the trace ${file}: there is no directory ${directory}`);
}

/** Writes `trace` to `file`, whole or not at all; only `owner`, by default this process's user, can read it. */
export async function writeTraceFile(
  file: string,
  trace: Trace,
  { owner }: Pick<WholeFileOptions, 'owner'> = {},
): Promise<void> {
  await writeWholeFile(file, formatTrace(trace), { mode: FILE_MODE, ...(owner && { owner }) });
}
