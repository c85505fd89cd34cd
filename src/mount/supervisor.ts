import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../errors.js';
import { type FileLock, lockFile } from '../os/file-lock.js';
import { takeDescriptor } from '../os/pidfd.js';
import { readJsonLines, writeJsonLine } from './json-lines.js';
import { prepareRunDir, type RunFiles } from './run-dir.js';
import { type FromSupervisor, SUPERVISED, SUPERVISOR_FD, type ToSupervisor } from './supervisor-protocol.js';

/** A daemon that dies again and again within this time, in milliseconds, is not started any more. */
const CRASH_WINDOW_MS = 60_000;
const MAX_CRASHES = 20;
/** Wait before another start, times the number of recent crashes, in milliseconds. The first start is at once. */
const CRASH_DELAY_MS = 100;
/** How long a daemon of a new version has to prove itself, in milliseconds, before a crash brings back the old one. */
const TRIAL_MS = 5_000;

/**
 * Keeps a daemon running: starts it from `command` (program and arguments), holds the descriptors that it gives, and starts
 * another one with them when it dies. Readers of its mounts only wait meanwhile. Does nothing else: what is not here
 * cannot fail. Resolves to the exit code of the last daemon, when that one ends in good order or cannot be kept alive. Throws
 * BUSY if another one works in `runDir`.
 */
export async function supervise(command: readonly string[], runDir: string): Promise<number> {
  const lock = lockSupervisor(await prepareRunDir(runDir), runDir);
  try {
    return await keepRunning(command);
  } finally {
    lock.release();
  }
}

/** Throws BUSY if the run directory has a supervisor. */
function lockSupervisor({ supervisorLock }: RunFiles, runDir: string): FileLock {
  try {
    return lockFile(supervisorLock);
  } catch (cause) {
    if (!isRafterError(cause, 'BUSY')) throw cause;
    throw new RafterError('BUSY', `another daemon serves ${runDir}`, { cause });
  }
}

async function keepRunning(command: readonly string[]): Promise<number> {
  const held = new Map<string, number>();
  const stopped = forwardSignals();
  let state: unknown;
  let current = command;
  let proven = command;
  let crashes: number[] = [];
  for (;;) {
    const startedAt = Date.now();
    const { leaving, code } = await runOnce(current, {
      held,
      state: () => state,
      save: (saved) => {
        state = saved;
      },
      watch: stopped.watch,
    });
    if (leaving?.handOver) {
      proven = current;
      current = leaving.command ?? current;
      continue;
    }
    if (leaving !== undefined || code === 0 || stopped.asked()) return code;
    const now = Date.now();
    if (current !== proven && now - startedAt < TRIAL_MS) current = proven;
    crashes = [...crashes.filter((time) => now - time < CRASH_WINDOW_MS), now];
    // One that was never up has nothing to lose, and its caller waits for the reason.
    if (crashes.length > MAX_CRASHES || (held.size === 0 && state === undefined)) return code;
    await sleep(CRASH_DELAY_MS * (crashes.length - 1));
  }
}

interface RunHooks {
  held: Map<string, number>;
  state: () => unknown;
  save: (state: unknown) => void;
  /** Told of the process that signals go to. */
  watch: (child: ChildProcess) => void;
}

type Leave = Extract<ToSupervisor, { kind: 'leave' }>;

/** Runs one daemon to its end. */
async function runOnce(
  [program, ...args]: readonly string[],
  { held, state, save, watch }: RunHooks,
): Promise<{ leaving: Leave | undefined; code: number }> {
  const names = [...held.keys()];
  const child = spawn(program!, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe', ...held.values()],
    env: { ...process.env, [SUPERVISED]: '1' },
  });
  watch(child);
  const link = child.stdio[SUPERVISOR_FD] as unknown as Duplex;
  let leaving: Leave | undefined;
  link.on('error', () => {});
  readJsonLines(link, (message) => {
    const request = message as ToSupervisor;
    if (request.kind === 'save') save(request.state);
    else if (request.kind === 'leave') leaving = request;
    else {
      const old = held.get(request.name);
      held.delete(request.name);
      if (old !== undefined) closeSync(old);
      if (request.kind !== 'keep') return;
      try {
        held.set(request.name, takeDescriptor(request.pid, request.fd));
      } catch {
        // It died just now, and the descriptor with it.
      }
    }
  });
  const descriptors = Object.fromEntries(names.map((name, i) => [name, SUPERVISOR_FD + 1 + i]));
  const start: FromSupervisor = { kind: 'start', supervisorPid: process.pid, descriptors, state: state() };
  writeJsonLine(link, start);
  const code = await new Promise<number>((resolve) => {
    child.once('error', () => resolve(1));
    child.once('close', (exitCode) => resolve(exitCode ?? 1));
  });
  return { leaving, code };
}

/** SIGTERM and SIGINT are meant for the daemon, which ends in good order then. */
function forwardSignals() {
  let child: ChildProcess | undefined;
  let asked = false;
  const forward = (signal: NodeJS.Signals) => {
    asked = true;
    child?.kill(signal);
  };
  process.on('SIGTERM', forward);
  process.on('SIGINT', forward);
  return {
    asked: () => asked,
    watch: (started: ChildProcess) => {
      child = started;
    },
  };
}
