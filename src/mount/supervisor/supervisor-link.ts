import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../errors.js';
import type { DaemonLog } from '../daemon-log.js';
import { readJsonLines, writeJsonLine } from './json-lines.js';
import {
  ADOPT,
  type FromSupervisor,
  type StartReason,
  SUPERVISED,
  SUPERVISOR_FD,
  type SupervisorRequest,
} from './supervisor-protocol.js';

/** What a daemon's predecessor left for it. */
interface Inheritance {
  reason: StartReason;
  /** Descriptors of this process by the names under which they were kept. */
  descriptors: Record<string, number>;
  state: unknown;
}

/**
 * A daemon's side of the connection with its supervisor. What returns a promise is done when that resolves; without a
 * supervisor all of it does nothing. When the supervisor dies, another one is started and is given everything again.
 */
export interface SupervisorLink {
  /** Process id of the supervisor, if there is one and it lives. */
  readonly supervisorPid: number | undefined;
  readonly inheritance: Inheritance;
  /** Gives a descriptor into safekeeping: the file stays open when this process dies. */
  keep(name: string, fd: number): Promise<void>;
  drop(name: string): void;
  /** Saves what a successor must know. */
  save(state: unknown): Promise<void>;
  /** This process serves now. */
  ready(): void;
  /** Says that this process ends now, and whether a successor is to follow. */
  leave(how: { handOver: boolean; command?: string[] }): Promise<void>;
}

export interface LinkOptions {
  /** Program and arguments that run a supervisor for this daemon. */
  supervisor: readonly string[];
  log: DaemonLog;
}

/** How long a supervisor may take to say what was left, in milliseconds. */
const START_PATIENCE_MS = 10_000;
/** How long to wait before another attempt to start a supervisor, in milliseconds. */
const HEAL_DELAY_MS = 500;

/** Connects with the supervisor that started this process, if one did. */
export async function connectSupervisor(options: LinkOptions): Promise<SupervisorLink> {
  if (process.env[SUPERVISED] !== '1') return unsupervised();
  delete process.env[SUPERVISED];
  const link = new Link(options);
  const socket = new Socket({ fd: SUPERVISOR_FD, readable: true, writable: true });
  const { descriptors, state, reason } = await link.connect(socket);
  return link.withInheritance({ descriptors, state, reason });
}

type Start = Extract<FromSupervisor, { kind: 'start' }>;

class Link {
  readonly #options: LinkOptions;
  #socket: Socket | undefined;
  #supervisorPid: number | undefined;
  #sequence = 0;
  readonly #waiting = new Map<number, () => void>();
  /** What a new supervisor has to be given. */
  readonly #kept = new Map<string, number>();
  #state: unknown;
  #isReady = false;
  #leaving = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  withInheritance(inheritance: Inheritance): SupervisorLink {
    const pid = () => this.#supervisorPid;
    for (const [name, fd] of Object.entries(inheritance.descriptors)) this.#kept.set(name, fd);
    this.#state = inheritance.state;
    return {
      get supervisorPid() {
        return pid();
      },
      inheritance,
      keep: (name, fd) => {
        // The one that was inherited is held already.
        if (this.#kept.get(name) === fd) return Promise.resolve();
        this.#kept.set(name, fd);
        return this.#ask({ kind: 'keep', name, pid: process.pid, fd });
      },
      drop: (name) => {
        this.#kept.delete(name);
        this.#ask({ kind: 'drop', name });
      },
      save: (state) => {
        this.#state = state;
        return this.#ask({ kind: 'save', state });
      },
      ready: () => {
        this.#isReady = true;
        this.#ask({ kind: 'ready' });
      },
      leave: (how) => {
        this.#leaving = true;
        return this.#ask({ kind: 'leave', ...how });
      },
    };
  }

  /** Resolves to what the supervisor at the other end says first. */
  connect(socket: Socket): Promise<Start> {
    socket.unref();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => socket.destroy(new Error('the supervisor said nothing')),
        START_PATIENCE_MS,
      );
      socket.on('error', reject);
      socket.once('close', () => {
        clearTimeout(timer);
        reject(new Error('the supervisor is gone'));
        this.#lost(socket);
      });
      readJsonLines(socket, (message) => {
        const said = message as FromSupervisor;
        if (said.kind === 'done') this.#done(said);
        else {
          clearTimeout(timer);
          this.#socket = socket;
          this.#supervisorPid = said.supervisorPid;
          resolve(said);
        }
      });
    });
  }

  /** Without a supervisor there is nothing to wait for: the next one is told everything when it comes. */
  #ask(request: SupervisorRequest): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return Promise.resolve();
    const sequence = ++this.#sequence;
    return new Promise((resolve) => {
      this.#waiting.set(sequence, resolve);
      // It keeps the process only while there is an answer to come.
      socket.ref();
      writeJsonLine(socket, { ...request, sequence });
    });
  }

  #done({ sequence, error }: Extract<FromSupervisor, { kind: 'done' }>): void {
    if (error !== undefined) this.#options.log.error('the supervisor could not do it', { reason: error });
    this.#waiting.get(sequence)?.();
    this.#waiting.delete(sequence);
    if (this.#waiting.size === 0) this.#socket?.unref();
  }

  #lost(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#supervisorPid = undefined;
    for (const resolve of this.#waiting.values()) resolve();
    this.#waiting.clear();
    if (!this.#leaving) this.#heal();
  }

  /** Starts supervisors until one lives and holds everything. */
  async #heal(): Promise<void> {
    this.#options.log.warn('the supervisor is gone: starting another one');
    while (this.#socket === undefined && !this.#leaving) {
      try {
        const { supervisorPid } = await this.connect(this.#spawn());
        this.#tellEverything();
        this.#options.log.info('there is a supervisor again', { supervisorPid });
      } catch (error) {
        this.#options.log.error('cannot start a supervisor', { reason: messageOf(error) });
        await sleep(HEAL_DELAY_MS, undefined, { ref: false });
      }
    }
  }

  #spawn(): Socket {
    const [program, ...args] = this.#options.supervisor;
    const child = spawn(program!, args, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      env: { ...process.env, [ADOPT]: String(process.pid) },
    });
    const socket = child.stdio[SUPERVISOR_FD] as unknown as Socket;
    child.on('error', (error) => socket.destroy(error));
    child.unref();
    return socket;
  }

  #tellEverything(): void {
    for (const [name, fd] of this.#kept) this.#ask({ kind: 'keep', name, pid: process.pid, fd });
    if (this.#state !== undefined) this.#ask({ kind: 'save', state: this.#state });
    if (this.#isReady) this.#ask({ kind: 'ready' });
  }
}

function unsupervised(): SupervisorLink {
  const nothing = () => Promise.resolve();
  return {
    supervisorPid: undefined,
    inheritance: { reason: 'start', descriptors: {}, state: undefined },
    keep: nothing,
    drop() {},
    save: nothing,
    ready() {},
    leave: nothing,
  };
}
