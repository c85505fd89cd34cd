import { Socket } from 'node:net';
import { readJsonLines, writeJsonLine } from './json-lines.js';
import { type FromSupervisor, SUPERVISED, SUPERVISOR_FD, type ToSupervisor } from './supervisor-protocol.js';

/** What a daemon's predecessor left for it. */
interface Inheritance {
  /** Descriptors of this process by the names under which they were kept. */
  descriptors: Record<string, number>;
  state: unknown;
}

/** A daemon's side of the connection with its supervisor. Without a supervisor all of it does nothing. */
export interface SupervisorLink {
  /** Process id of the supervisor, if there is one and it lives. */
  readonly supervisorPid: number | undefined;
  readonly inheritance: Inheritance;
  /** Gives a descriptor into safekeeping: the file stays open when this process dies. */
  keep(name: string, fd: number): void;
  drop(name: string): void;
  /** Saves what a successor must know. */
  save(state: unknown): void;
  /** Says that this process ends now, and whether a successor is to follow. Resolves when that has been sent. */
  leave(how: { handOver: boolean; command?: string[] }): Promise<void>;
}

/** How long a supervisor may take to say what was left, in milliseconds. */
const START_PATIENCE_MS = 10_000;

/** Connects with the supervisor that started this process, if one did. */
export async function connectSupervisor(): Promise<SupervisorLink> {
  if (process.env[SUPERVISED] !== '1') return unsupervised();
  delete process.env[SUPERVISED];
  const socket = new Socket({ fd: SUPERVISOR_FD, readable: true, writable: true });
  socket.unref();
  let alive = true;
  socket.on('error', () => {});
  socket.once('close', () => {
    alive = false;
  });
  const start = await new Promise<FromSupervisor>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the supervisor said nothing')), START_PATIENCE_MS);
    readJsonLines(socket, (message) => {
      clearTimeout(timer);
      resolve(message as FromSupervisor);
    });
  });
  const tell = (message: ToSupervisor) => {
    if (alive) writeJsonLine(socket, message);
  };
  return {
    get supervisorPid() {
      return alive ? start.supervisorPid : undefined;
    },
    inheritance: { descriptors: start.descriptors, state: start.state },
    keep: (name, fd) => tell({ kind: 'keep', name, pid: process.pid, fd }),
    drop: (name) => tell({ kind: 'drop', name }),
    save: (state) => tell({ kind: 'save', state }),
    leave: (how) =>
      new Promise((resolve) => {
        tell({ kind: 'leave', ...how });
        if (alive) socket.write('', () => resolve());
        else resolve();
      }),
  };
}

function unsupervised(): SupervisorLink {
  return {
    supervisorPid: undefined,
    inheritance: { descriptors: {}, state: undefined },
    keep() {},
    drop() {},
    save() {},
    leave: async () => {},
  };
}
