import type { DaemonLog } from '../daemon-log.js';

/**
 * What ends the daemon. Exceptions that nothing caught do not: they are logged, and the containers that stand on the
 * mounts go on; every byte is verified before it is served, whatever state the rest is in.
 */
export function createStopSignal(log: DaemonLog) {
  let requested = false;
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  const request = (reason: string) => {
    if (!requested) log.info('stopping', { reason });
    requested = true;
    resolve();
  };
  const uncaught = (error: unknown) =>
    log.error('nothing caught this', { error, stack: (error as Error | undefined)?.stack });
  // A second signal means now: what is left mounted is taken away by the next daemon.
  const onSignal = (name: string) => (requested ? process.exit(1) : request(name));
  const handlers = {
    SIGTERM: () => onSignal('SIGTERM'),
    SIGINT: () => onSignal('SIGINT'),
    uncaughtException: uncaught,
    unhandledRejection: uncaught,
  };
  for (const [event, handler] of Object.entries(handlers)) process.on(event, handler);
  const close = () => {
    for (const [event, handler] of Object.entries(handlers)) process.off(event, handler);
  };
  return { promise, request, requested: () => requested, close };
}
