import { setMaxListeners } from 'node:events';
import { RafterError } from '../errors.js';

/**
 * `work`, which others wait for, too, but INTERRUPTED as soon as `signal` is aborted, naming `what` was; the work itself goes on, and
 * what it throws then is for the others.
 */
export function orAborted<T>(work: Promise<T>, what: string, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  // One signal ends all requests of a command, however many are under way.
  setMaxListeners(0, signal);
  return new Promise((resolve, reject) => {
    const stop = () =>
      reject(new RafterError('INTERRUPTED', `${what} was interrupted`, { cause: signal.reason }));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
