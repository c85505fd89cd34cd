import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isRafterError, RafterError } from '../../errors.js';
import { lockFile } from '../../os/file-lock.js';
import { preparePrivateDirectory } from '../../os/private-directory.js';

/** Longest path of a unix socket: `sun_path` of struct sockaddr_un without its NUL. */
const MAX_SOCKET_PATH = 107;

/** Where the daemon of a run directory has its files. */
export interface RunFiles {
  socket: string;
  lock: string;
  /** Locked by the supervisor as long as it lives. */
  supervisorLock: string;
  log: string;
  /** What is mounted, for the successor of a daemon that crashed. */
  state: string;
  /** Directory: what was traced of the mounts that are there, for the same. */
  traces: string;
}

/** The paths in `runDir`, which must be absolute. USAGE if the socket's path is longer than the kernel takes. */
export function runFiles(runDir: string): RunFiles {
  const socket = join(runDir, 'rafter.sock');
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH)
    throw new RafterError('USAGE', `the run directory's path is too long for a socket: ${runDir}`, {
      hint: `choose one of at most ${MAX_SOCKET_PATH - '/rafter.sock'.length} bytes with --run-dir`,
    });
  return {
    socket,
    lock: join(runDir, 'daemon.lock'),
    supervisorLock: join(runDir, 'supervisor.lock'),
    log: join(runDir, 'daemon.log'),
    state: join(runDir, 'mounts.json'),
    traces: join(runDir, 'traces'),
  };
}

/** Makes `runDir` a private directory (see `preparePrivateDirectory`): who can replace the socket can make others speak to a daemon of his. */
export function prepareRunDir(runDir: string): RunFiles {
  const files = runFiles(runDir);
  preparePrivateDirectory(runDir, '--run-dir');
  return files;
}

/** True if a supervisor works in `runDir`: a daemon is there, or will be in a moment. */
export function hasSupervisor(runDir: string): boolean {
  const { supervisorLock } = runFiles(runDir);
  if (!existsSync(supervisorLock)) return false;
  try {
    lockFile(supervisorLock).release();
    return false;
  } catch (error) {
    return isRafterError(error, 'BUSY');
  }
}
