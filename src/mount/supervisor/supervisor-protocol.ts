/** What a daemon asks of its supervisor. Everything in memory only: the state may hold credentials. */
export type SupervisorRequest =
  /** Hold descriptor `fd` of process `pid`, under a name, so that it outlives the process. */
  | { kind: 'keep'; name: string; pid: number; fd: number }
  /** Close what is held under this name. */
  | { kind: 'drop'; name: string }
  /** What a successor must know. Replaces what was saved before. */
  | { kind: 'save'; state: unknown }
  /** This process serves now: it is no failed start any more. */
  | { kind: 'ready' }
  /** This process is about to end in good order: `handOver` asks for a successor, from `command` if it is given. */
  | { kind: 'leave'; handOver: boolean; command?: string[] };

/** Requests are done in their order, and each is confirmed when it is done. */
export type ToSupervisor = SupervisorRequest & { sequence: number };

/** Why a supervisor started a daemon. */
export type StartReason =
  | 'start'
  /** The one before it died. */
  | 'restart'
  | 'upgrade'
  /** The one that it had been replaced by did not come up. */
  | 'failed upgrade';

/** What a supervisor tells a daemon. */
export type FromSupervisor =
  /** First of all: what its predecessor left. A supervisor that comes to a daemon that is there has nothing to give. */
  | {
      kind: 'start';
      supervisorPid: number;
      reason: StartReason;
      /** Descriptors of this process, inherited, by name. */
      descriptors: Record<string, number>;
      state: unknown;
    }
  /** Done; `error` says why not. */
  | { kind: 'done'; sequence: number; error?: string };

/** Descriptor, of both processes' children, through which daemon and supervisor speak. */
export const SUPERVISOR_FD = 3;
/** Set in the environment of a supervised daemon. */
export const SUPERVISED = 'RAFTER_SUPERVISED';
/** Set in the environment of a supervisor that a daemon starts for itself: the daemon's process id. */
export const ADOPT = 'RAFTER_ADOPT';
