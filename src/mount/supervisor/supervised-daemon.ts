import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeDescriptor } from '../../os/pidfd.js';
import { readJsonLines, writeJsonLine } from './json-lines.js';
import { isHalfDead, releaseThreads } from './stuck-requests.js';
import {
  ADOPT,
  type FromSupervisor,
  type StartReason,
  SUPERVISED,
  SUPERVISOR_FD,
  type ToSupervisor,
} from './supervisor-protocol.js';

/** What a supervisor keeps for the daemons that follow each other. */
export interface Estate {
  /** Descriptors of this process by name. */
  held: Map<string, number>;
  state: unknown;
}

/** How one daemon ended. */
export interface DaemonEnd {
  leaving: Extract<ToSupervisor, { kind: 'leave' }> | undefined;
  code: number;
  /** Somebody else killed it (SIGKILL), which says nothing about the daemon itself. */
  killed: boolean;
  /** It had been serving. */
  wasReady: boolean;
}

/** A daemon that runs. */
export interface SupervisedDaemon {
  readonly pid: number | undefined;
  readonly ended: Promise<DaemonEnd>;
  signal(name: NodeJS.Signals): void;
}

/** glibc keeps what a thread freed for that thread; the daemon's many would keep the largest buffers of each (mallopt(3)). */
const MALLOC_ARENA_MAX = '1';

/** lz4-napi's allocator would take a huge page of 2 MiB for some kilobytes (mimalloc's environment options). */
const MIMALLOC_ALLOW_LARGE_OS_PAGES = '0';

/** How often to look whether a thread of a dead daemon keeps it from ending, in milliseconds. */
const LOOK_EVERY = 500;

/** Starts a daemon from `command`, program and arguments, and gives it what the one before has left. */
export function startDaemon(
  [program, ...args]: readonly string[],
  { estate, reason, readyWithin }: { estate: Estate; reason: StartReason; readyWithin?: number | undefined },
): SupervisedDaemon {
  const names = [...estate.held.keys()];
  const child = spawn(program!, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe', ...estate.held.values()],
    env: {
      MALLOC_ARENA_MAX,
      MIMALLOC_ALLOW_LARGE_OS_PAGES,
      ...process.env,
      [SUPERVISED]: '1',
      [ADOPT]: undefined,
    },
  });
  const link = child.stdio?.[SUPERVISOR_FD] as unknown as Duplex | undefined;
  const conversation = link && converse(link, estate);
  if (link !== undefined) {
    const descriptors = Object.fromEntries(names.map((name, i) => [name, SUPERVISOR_FD + 1 + i]));
    say(link, { kind: 'start', supervisorPid: process.pid, reason, descriptors, state: estate.state });
  }
  let timedOut = false;
  const giveUp = () => {
    timedOut = true;
    child.kill('SIGKILL');
  };
  const late = readyWithin === undefined ? undefined : setTimeout(giveUp, readyWithin);
  conversation?.ready.then(() => clearTimeout(late));
  const watch = watchThreads(() => child.pid, estate);
  const ended = endOf(child).then(({ code, signal }): DaemonEnd => {
    clearTimeout(late);
    clearInterval(watch);
    const { leaving, wasReady = false } = conversation?.result() ?? {};
    return { leaving, code, killed: signal === 'SIGKILL' && !timedOut, wasReady };
  });
  return {
    pid: child.pid,
    ended,
    signal: (name) => {
      child.kill(name);
    },
  };
}

/** Takes care of daemon `pid`, which has lost its supervisor and has started this process to be the next one. */
export function adoptDaemon(pid: number, estate: Estate): SupervisedDaemon {
  const link = new Socket({ fd: SUPERVISOR_FD, readable: true, writable: true });
  const { result } = converse(link, estate);
  say(link, {
    kind: 'start',
    supervisorPid: process.pid,
    reason: 'start',
    descriptors: {},
    state: undefined,
  });
  const watch = watchThreads(() => pid, estate);
  const ended = new Promise<void>((resolve) => {
    link.once('close', () => resolve());
  }).then(async (): Promise<DaemonEnd> => {
    // Not ours to wait for: whoever inherited it does that.
    while (isThere(pid)) await sleep(LOOK_EVERY / 10);
    clearInterval(watch);
    return { leaving: result().leaving, code: 1, killed: true, wasReady: true };
  });
  return { pid, ended, signal: (name) => void (isThere(pid) && process.kill(pid, name)) };
}

function say(link: Duplex, message: FromSupervisor): void {
  writeJsonLine(link, message);
}

/** Does what the daemon at the other end of `link` asks for. */
function converse(link: Duplex, estate: Estate) {
  let leaving: DaemonEnd['leaving'];
  let wasReady = false;
  let becomeReady = () => {};
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve;
  });
  link.on('error', () => {});
  readJsonLines(link, (message) => {
    const request = message as ToSupervisor;
    let error: string | undefined;
    if (request.kind === 'save') estate.state = request.state;
    else if (request.kind === 'leave') leaving = request;
    else if (request.kind === 'ready') {
      wasReady = true;
      becomeReady();
    } else error = hold(estate.held, request);
    if (!link.destroyed) say(link, { kind: 'done', sequence: request.sequence, ...(error && { error }) });
  });
  return { ready, result: () => ({ leaving, wasReady }) };
}

/** Keeps or drops a descriptor. Returns what went wrong: mostly that the daemon has just died, and the descriptor with it. */
function hold(
  held: Estate['held'],
  request: Extract<ToSupervisor, { kind: 'keep' | 'drop' }>,
): string | undefined {
  const { name } = request;
  try {
    const taken = request.kind === 'keep' ? takeDescriptor(request.pid, request.fd) : undefined;
    const old = held.get(name);
    if (taken === undefined) held.delete(name);
    else held.set(name, taken);
    if (old !== undefined) closeSync(old);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function watchThreads(pid: () => number | undefined, { held }: Estate): NodeJS.Timeout {
  return setInterval(() => {
    const current = pid();
    if (current !== undefined && isHalfDead(current)) releaseThreads(current, held.values());
  }, LOOK_EVERY);
}

function endOf(child: ChildProcess): Promise<{ code: number; signal: NodeJS.Signals | null }> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: 1, signal: null }));
    child.once('close', (code, signal) => resolve({ code: code ?? 1, signal }));
  });
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
