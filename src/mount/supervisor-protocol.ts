/** What a daemon asks of its supervisor. Everything in memory only: the state may hold credentials. */
export type ToSupervisor =
  /** Hold descriptor `fd` of process `pid`, under a name, so that it outlives the process. */
  | { kind: 'keep'; name: string; pid: number; fd: number }
  /** Close what is held under this name. */
  | { kind: 'drop'; name: string }
  /** What a successor must know. Replaces what was saved before. */
  | { kind: 'save'; state: unknown }
  /** This process is about to end in good order: `handOver` asks for a successor, from `command` if it is given. */
  | { kind: 'leave'; handOver: boolean; command?: string[] };

/** What a supervisor tells a daemon that it has started: what its predecessor left. */
export interface FromSupervisor {
  kind: 'start';
  supervisorPid: number;
  /** Descriptors of this process, inherited, by name. */
  descriptors: Record<string, number>;
  state: unknown;
}

/** Descriptor of a supervised daemon through which it speaks to its supervisor. */
export const SUPERVISOR_FD = 3;
/** Set in the environment of a supervised daemon. */
export const SUPERVISED = 'RAFTER_SUPERVISED';
