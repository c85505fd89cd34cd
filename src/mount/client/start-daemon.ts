import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../../errors.js';
import type { DaemonStatus } from '../api/api.js';
import { callDaemon } from '../api/api-client.js';
import { environmentForOthers } from '../daemon/service-manager.js';
import { readLogTail, sizeOf } from '../log-file.js';
import { checkDataRoot } from './data-root.js';
import { hasSupervisor, prepareRunDir } from './run-dir.js';

export interface DaemonPlace {
  /** Run directory of the daemon; absolute. */
  runDir: string;
  /** Data root that the daemon must use; absolute. */
  dataRoot: string;
  /** Program and arguments that run a daemon for these two directories. */
  command: readonly string[];
  /** How long the daemon may take until it answers, in milliseconds. */
  deadline?: number;
  signal?: AbortSignal | undefined;
  onNotice?: OnNotice | undefined;
}

/** Told in a sentence what the user should know besides the result. */
export type OnNotice = (text: string) => void;

/** Says which mounts were taken away because their daemon had died. */
export function tellOfDeadMounts(
  mountpoints: string[],
  { onNotice }: { onNotice?: OnNotice | undefined },
): void {
  for (const mountpoint of mountpoints)
    onNotice?.(
      `the daemon and its supervisor have died: ${mountpoint} was not served any more and is unmounted`,
    );
}

const DEFAULT_DEADLINE = 30_000;
const POLL = 25;

/**
 * Makes sure that a daemon serves the run directory: returns the status of the one that answers, or starts one, detached
 * from this process. When several callers do so at once, one daemon stays and all get its status.
 * Throws FAILED with the end of its log if it does not come up, BUSY if the running one uses another data root.
 */
export async function ensureDaemon(place: DaemonPlace): Promise<DaemonStatus> {
  const { runDir, dataRoot } = place;
  const { socket, log, state } = prepareRunDir(runDir);
  let status = await findDaemon(place, socket);
  if (status === undefined) {
    // Most often nothing was left, and what looks takes longer to load than what starts a daemon.
    if (existsSync(state)) {
      const { takeAwayDeadMounts } = await import('./dead-mounts.js');
      tellOfDeadMounts(await takeAwayDeadMounts(runDir), place);
    }
    status = await start(place, { socket, log });
  }
  checkDataRoot(status, dataRoot);
  return status;
}

/** The status of the daemon that runs, or of the one that its supervisor is just starting again; undefined if there is none. */
async function findDaemon(
  { runDir, deadline = DEFAULT_DEADLINE, signal }: DaemonPlace,
  socket: string,
): Promise<DaemonStatus | undefined> {
  for (const end = Date.now() + deadline; ; await sleep(POLL)) {
    const status = await statusOf(socket, signal);
    if (status !== undefined || !hasSupervisor(runDir) || Date.now() > end) return status;
  }
}

async function start(
  { command, deadline = DEFAULT_DEADLINE, signal }: DaemonPlace,
  { socket, log }: { socket: string; log: string },
): Promise<DaemonStatus> {
  const logStart = sizeOf(log);
  const output = openSync(log, 'a', 0o600);
  const [program, ...args] = command as [string, ...string[]];
  const child = spawn(program, args, {
    detached: true,
    cwd: '/',
    stdio: ['ignore', output, output],
    env: environmentForOthers(),
  });
  closeSync(output);
  child.unref();
  let gone: string | undefined;
  child.once('error', (error) => {
    gone = error.message;
  });
  child.once('exit', (code, killedBy) => {
    gone = `it ended with ${killedBy ?? `exit code ${code}`}`;
  });
  const end = Date.now() + deadline;
  while (Date.now() < end) {
    const ended = gone;
    const status = await statusOf(socket, signal);
    if (status !== undefined) {
      // Ours lost against one that another caller started. It must not wait and take over when that one ends.
      if ((status.supervisorPid ?? status.pid) !== child.pid) child.kill();
      return status;
    }
    // A loser ends by itself, too; then the winner has the lock and will answer.
    if (ended !== undefined && !readLogTail(log, { from: logStart }).includes('another daemon serves')) {
      throw startError(ended, { log, logStart });
    }
    await sleep(POLL);
  }
  throw startError(`it did not answer within ${deadline / 1000} s`, { log, logStart });
}

function startError(what: string, { log, logStart }: { log: string; logStart: number }): RafterError {
  const tail = reasonIn(readLogTail(log, { from: logStart }));
  return new RafterError('FAILED', `the daemon did not start: ${what}${tail === '' ? '' : `: ${tail}`}`, {
    hint: `its log is ${log}`,
  });
}

/** The last error that the daemon logged; else everything, on one line: what ended it was not the daemon's own then. */
function reasonIn(logTail: string): string {
  const lines = logTail.split('\n');
  const logged = lines.map(errorIn).findLast((error) => error !== undefined);
  return logged ?? lines.join(' | ');
}

function errorIn(line: string): string | undefined {
  try {
    const { error } = JSON.parse(line) as { error?: unknown };
    return typeof error === 'string' && error !== '' ? error : undefined;
  } catch {
    return undefined;
  }
}

async function statusOf(socket: string, signal: AbortSignal | undefined): Promise<DaemonStatus | undefined> {
  try {
    return await callDaemon<DaemonStatus>(socket, 'GET /v1/status', { signal });
  } catch (error) {
    // One that dies while it is asked is none either.
    if (isRafterError(error, 'UNAVAILABLE')) return undefined;
    throw error;
  }
}
