import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../../errors.js';
import { type FileLock, lockFile } from '../../os/file-lock.js';
import { API_SOCKET, takeActivatedSocket } from '../daemon/service-manager.js';
import { adoptDaemon, type DaemonEnd, type Estate, startDaemon } from './supervised-daemon.js';
import type { StartReason } from './supervisor-protocol.js';

/** A daemon that fails again and again within this time, in milliseconds, is not started any more. */
const CRASH_WINDOW_MS = 60_000;
const MAX_CRASHES = 20;
/** Wait before another start, times the number of recent crashes, in milliseconds. The first start is at once. */
const CRASH_DELAY_MS = 100;
const LONGEST_DELAY_MS = 1000;
/** How long a daemon of a new version has to prove itself, in milliseconds, before the old one is brought back. */
const TRIAL_MS = 20_000;
/** How long to try for a lock that a client may hold just to see whether it is taken, in milliseconds, and how often. */
const LOCK_PATIENCE_MS = 200;
const LOCK_POLL_MS = 10;

export interface SupervisorOptions {
  /** Program and arguments of the daemon. */
  command: readonly string[];
  /** Locked as long as this supervisor lives. */
  lockPath: string;
  /** For messages. */
  runDir: string;
  /** Process id of a daemon that runs and has started this supervisor, with `SUPERVISOR_FD` as the link to it. */
  adopt?: number | undefined;
}

/**
 * Keeps a daemon running: starts it from `command`, holds the descriptors that it gives, and starts another one with them when
 * it dies. Readers of its mounts only wait meanwhile. Does nothing else: what is not here cannot fail. Resolves to the exit
 * code of the last daemon, when that one ends in good order or cannot be kept alive. Throws BUSY if another supervisor
 * works in the run directory.
 */
export async function supervise(options: SupervisorOptions): Promise<number> {
  const lock = await lockSupervisor(options);
  try {
    return await keepRunning(options);
  } finally {
    lock.release();
  }
}

/** Throws BUSY if the run directory has a supervisor. */
async function lockSupervisor({ lockPath, runDir }: SupervisorOptions): Promise<FileLock> {
  for (const end = Date.now() + LOCK_PATIENCE_MS; ; await sleep(LOCK_POLL_MS)) {
    try {
      return lockFile(lockPath);
    } catch (cause) {
      if (!isRafterError(cause, 'BUSY')) throw cause;
      if (Date.now() > end) throw new RafterError('BUSY', `another daemon serves ${runDir}`, { cause });
    }
  }
}

async function keepRunning({ command, adopt }: SupervisorOptions): Promise<number> {
  const estate: Estate = { held: new Map(), state: undefined };
  const listening = takeActivatedSocket();
  if (listening !== undefined) estate.held.set(API_SOCKET, listening);
  const signals = forwardSignals();
  const isWorthGoingOn = limitCrashes();
  let proven = { command, state: estate.state };
  let current = command;
  let reason: StartReason = 'start';
  let daemon = adopt === undefined ? undefined : adoptDaemon(adopt, estate);
  for (;;) {
    const isTrial = current !== proven.command;
    daemon ??= startDaemon(current, { estate, reason, readyWithin: isTrial ? TRIAL_MS : undefined });
    signals.to(daemon);
    const end = await daemon.ended;
    daemon = undefined;
    const { leaving, code } = end;
    if (leaving?.handOver) {
      proven = { command: current, state: estate.state };
      current = leaving.command ?? current;
      reason = 'upgrade';
      continue;
    }
    if (leaving !== undefined || code === 0 || signals.asked()) return code;
    if (isTrial && !end.wasReady && !end.killed) {
      // What the new one saved, the old one may not understand.
      current = proven.command;
      estate.state = proven.state;
      reason = 'failed upgrade';
      continue;
    }
    if (end.wasReady) proven = { ...proven, command: current };
    if (current === proven.command) reason = 'restart';
    // One that was never up has nothing to lose, and its caller waits for the reason.
    if (estate.state === undefined && [...estate.held.keys()].every((name) => name === API_SOCKET))
      return code;
    const delay = isWorthGoingOn(end);
    if (delay === undefined) return code;
    await sleep(delay);
  }
}

/** Says after the end of a daemon how long to wait before the next, in milliseconds; undefined: not any more. */
function limitCrashes(): (end: DaemonEnd) => number | undefined {
  let crashes: number[] = [];
  return ({ killed, wasReady }) => {
    // Somebody's SIGKILL, or the kernel's for want of memory, is no sign that the next one would fail too.
    if (killed && wasReady) return 0;
    const now = Date.now();
    crashes = [...crashes.filter((time) => now - time < CRASH_WINDOW_MS), now];
    if (crashes.length > MAX_CRASHES && !killed) return undefined;
    return Math.min(CRASH_DELAY_MS * (crashes.length - 1), LONGEST_DELAY_MS);
  };
}

/** SIGTERM and SIGINT are meant for the daemon, which ends in good order then. */
function forwardSignals() {
  let target: { signal(name: NodeJS.Signals): void } | undefined;
  let asked: NodeJS.Signals | undefined;
  const forward = (name: NodeJS.Signals) => {
    asked = name;
    target?.signal(name);
  };
  process.on('SIGTERM', forward);
  process.on('SIGINT', forward);
  return {
    asked: () => asked !== undefined,
    to(daemon: typeof target) {
      target = daemon;
      // It came while there was none.
      if (asked !== undefined) daemon?.signal(asked);
    },
  };
}
