import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isRafterError, RafterError } from '../errors.js';
import { lockFile } from '../os/file-lock.js';

/** Longest path of a unix socket: `sun_path` of struct sockaddr_un without its NUL. */
const MAX_SOCKET_PATH = 107;
/** Permission bits of group and others to write. */
const WRITABLE_BY_OTHERS = 0o022;

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

/**
 * Creates `runDir` for its owner only (0700). One that exists is taken as it is if nobody else can put files there;
 * otherwise DENIED: who can replace the socket can make others speak to a daemon of his.
 */
export async function prepareRunDir(runDir: string): Promise<RunFiles> {
  const files = runFiles(runDir);
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(runDir);
  const mine = uid === process.geteuid?.();
  if (!mine || (mode & WRITABLE_BY_OTHERS) !== 0)
    throw new RafterError('DENIED', `${runDir} belongs to somebody else or others can write to it`, {
      hint: 'give a directory of your own with --run-dir',
    });
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
