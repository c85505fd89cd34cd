import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf, messageOf, RafterError } from '../errors.js';
import { EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_RUNTIME_FAILED } from './exit-codes.js';

const run = promisify(execFile);

/** Where root's programs are also when the caller's PATH is a plain user's. */
const SYSTEM_PATHS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin'];

/** Path of runc, looked for in `path` (form of PATH), then in `systemPaths`. UNSUPPORTED if it is not installed. */
export function findRunc(path = process.env.PATH ?? '', systemPaths = SYSTEM_PATHS): string {
  const file = [...path.split(delimiter), ...systemPaths]
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, 'runc'))
    .find(isExecutable);
  if (file === undefined)
    throw new RafterError('UNSUPPORTED', 'containers need runc, which is not installed', {
      hint: 'apt-get install runc',
    });
  return file;
}

/** Kills every process of a container at once. Fails quietly: what is left is for `deleteContainer`. */
export async function killContainer(runc: string, runcRoot: string, id: string): Promise<void> {
  await run(runc, ['--root', runcRoot, 'kill', id, 'KILL']).catch(() => undefined);
}

/** Ends a container and removes its state and cgroup. Does nothing if runc does not know it. FAILED if runc cannot. */
export async function deleteContainer(runc: string, runcRoot: string, id: string): Promise<void> {
  if (!existsSync(join(runcRoot, id))) return;
  try {
    await run(runc, ['--root', runcRoot, 'delete', '--force', id]);
  } catch (error) {
    throw new RafterError('FAILED', `runc cannot delete container ${id}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * The exit code of `docker run` for a container that runc could not start, told by the errors in runc's JSON log:
 * 127 command not found, 126 not executable, 125 anything else. Undefined if the log has no error, so that the exit
 * code is the container's.
 */
export function startFailure(logFile: string): number | undefined {
  const errors = readLog(logFile).filter(({ level }) => level === 'error' || level === 'fatal');
  if (errors.length === 0) return undefined;
  // runc 1.1: `... unable to start container process: exec: "x": executable file not found in $PATH`
  const reason = errors.map(({ msg }) => msg).find((msg) => /: (exec: |chdir to cwd )/.test(msg)) ?? '';
  if (/executable file not found|no such file or directory/.test(reason)) return EXIT_NOT_FOUND;
  if (/permission denied|is a directory/.test(reason)) return EXIT_NOT_EXECUTABLE;
  return EXIT_RUNTIME_FAILED;
}

/** True if a container could not start because runc has no libseccomp, told by the errors in its JSON log. */
export function lacksSeccomp(logFile: string): boolean {
  // runc 1.1: `... error during container init: seccomp: config provided but seccomp not supported`
  return readLog(logFile).some(({ msg }) => msg.includes('config provided but seccomp not supported'));
}

/** One JSON object a line; runc may die in the middle of one. */
function readLog(file: string): { level: string; msg: string }[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    try {
      const { level, msg } = JSON.parse(line) as { level?: unknown; msg?: unknown };
      return [{ level: String(level), msg: String(msg) }];
    } catch {
      return [];
    }
  });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
