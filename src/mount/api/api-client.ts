import { type ErrorCode, errnoOf, messageOf, RafterError } from '../../errors.js';
import type { ApiError } from './api.js';
import { exchange } from './exchange.js';

/** No daemon answers, or the one that does is on its way out: what was asked did not happen, unless `wasWorking`. */
export class DaemonGoneError extends RafterError {
  /** It died before it answered: what was asked may have been done. */
  readonly wasWorking: boolean;

  constructor(
    message: string,
    { cause, wasWorking = false }: { cause?: unknown; wasWorking?: boolean } = {},
  ) {
    super('UNAVAILABLE', message, { cause });
    this.name = 'DaemonGoneError';
    this.wasWorking = wasWorking;
  }
}

export interface CallOptions {
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** Called when the whole request is on its way. */
  onSent?: (() => void) | undefined;
}

/**
 * One request to the daemon at `socket`; returns the JSON of its answer. Its errors come back as the RafterErrors they
 * were there. Also throws DaemonGoneError, INTERRUPTED when `signal` is aborted, and UNAVAILABLE if the daemon died while
 * it worked.
 */
export async function callDaemon<T>(
  socket: string,
  route: `${'GET' | 'POST' | 'DELETE'} /${string}`,
  { body, signal, onSent }: CallOptions = {},
): Promise<T> {
  if (signal?.aborted) throw new RafterError('INTERRUPTED', 'interrupted');
  const [method, path] = route.split(' ') as [string, string];
  const text = body === undefined ? undefined : JSON.stringify(body);
  let answered: { status: number; value: unknown };
  try {
    const answer = await exchange(socket, { method, path, body: text, signal, onSent });
    answered = { status: answer.status, value: JSON.parse(answer.body.toString()) };
  } catch (error) {
    throw callError(error, { socket, signal });
  }
  if (answered.status !== 200) throw errorOf(answered.value as ApiError);
  return answered.value as T;
}

function callError(
  error: unknown,
  { socket, signal }: { socket: string; signal: AbortSignal | undefined },
): RafterError {
  if (signal?.aborted) return new RafterError('INTERRUPTED', 'interrupted', { cause: error });
  const errno = errnoOf(error);
  const wasWorking = errno === 'ECONNRESET' || errno === 'EPIPE';
  if (errno === 'ENOENT' || errno === 'ECONNREFUSED' || wasWorking)
    return new DaemonGoneError(`no daemon answers at ${socket}`, { cause: error, wasWorking });
  if (errno === 'EACCES')
    return new RafterError('DENIED', `no right to speak to the daemon at ${socket}`, {
      cause: error,
      hint: 'run as the user who started it',
    });
  return new RafterError('UNAVAILABLE', `the daemon at ${socket} gave no answer: ${messageOf(error)}`, {
    cause: error,
    hint: 'its log is beside the socket',
  });
}

function errorOf({ code, message, hint, stopping }: ApiError): RafterError {
  if (stopping) return new DaemonGoneError(message);
  return new RafterError(code satisfies ErrorCode, message, hint === undefined ? {} : { hint });
}
