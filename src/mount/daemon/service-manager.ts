/** Name under which a supervisor keeps the socket that a service manager listens on for the daemon. */
export const API_SOCKET = 'api socket';
/** First descriptor of those that a service manager hands over (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;
const VARIABLES = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES'] as const;

/** The socket that a service manager has opened for this very process, if it has. */
export function activatedSocket(): number | undefined {
  const { LISTEN_FDS, LISTEN_PID } = process.env;
  return Number(LISTEN_PID) === process.pid && Number(LISTEN_FDS) >= 1 ? LISTEN_FDS_START : undefined;
}

/** The same, once: after that it is this process's own, and nobody else's. */
export function takeActivatedSocket(): number | undefined {
  const socket = activatedSocket();
  for (const name of VARIABLES) delete process.env[name];
  return socket;
}

/** The environment of this process without what a service manager said to it alone. */
export function environmentForOthers(): NodeJS.ProcessEnv {
  const { NOTIFY_SOCKET: _, WATCHDOG_PID: _pid, WATCHDOG_USEC: _usec, ...environment } = process.env;
  for (const name of VARIABLES) delete environment[name];
  return environment;
}
