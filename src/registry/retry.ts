import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../errors.js';
import { isRefusedConnection, RegistryError } from './error.js';

/** How temporary failures are repeated. Times in milliseconds. */
export interface RetryPolicy {
  /** How often the work is tried in all. */
  attempts: number;
  /** The same where nobody answers at the address: a registry that does not run rarely starts while one waits. */
  refusedAttempts: number;
  /** Wait before the second attempt; doubled for each further one. */
  baseDelayMs: number;
  maxDelayMs: number;
  /** No attempt is begun later than this after the first. */
  deadlineMs: number;
}

/** About half a minute of trying, shorter than a person's patience; a second where nothing listens. */
export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 7,
  refusedAttempts: 3,
  baseDelayMs: 250,
  maxDelayMs: 15_000,
  deadlineMs: 120_000,
};

/** For programs that nobody waits for, as the daemon is: a registry that is started anew is waited for. */
export const PATIENT_RETRY: RetryPolicy = { ...DEFAULT_RETRY, refusedAttempts: DEFAULT_RETRY.attempts };

/** Longest wait that a server's Retry-After is granted; a server that asks for more is reported as unavailable. */
const MAX_RETRY_AFTER_MS = 60_000;
/** Bytes that must have moved since the last failure for the next one to count as the first again. */
const MIN_PROGRESS = 1 << 20;

export interface RetryOptions {
  policy: RetryPolicy;
  signal?: AbortSignal | undefined;
  /** Names the work when it is interrupted. */
  name: string;
  /** Bytes that are done for good, for work that goes on where it failed. */
  progress?: (() => number) | undefined;
}

/**
 * Runs `work` until it succeeds, fails with an error that is not temporary, or the policy is used up: then the last
 * error is thrown. INTERRUPTED at once when `signal` is aborted, also during a wait. `work` must be safe to repeat.
 */
export async function withRetry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const failures = countFailures(options);
  for (;;) {
    throwIfAborted(options);
    try {
      return await work();
    } catch (error) {
      throwIfAborted(options);
      await failures.wait(error);
    }
  }
}

/** Counts the failures of one piece of work. */
export interface FailureCount {
  /** Waits as long as the policy says. Throws `error` instead if it is not temporary or no attempt is left. */
  wait(error: unknown): Promise<void>;
}

/** A count that begins now, with no failure. */
export function countFailures(options: RetryOptions): FailureCount {
  const { policy, progress = () => 0 } = options;
  let attempt = 0;
  let start = Date.now();
  let doneAtFailure = progress();
  return {
    async wait(error) {
      const done = progress();
      if (done - doneAtFailure >= MIN_PROGRESS) {
        attempt = 0;
        start = Date.now();
      }
      doneAtFailure = done;
      attempt++;
      if (!isRafterError(error) || !error.temporary || attempt >= attemptsFor(error, policy)) throw error;
      const asked = error instanceof RegistryError ? error.retryAfterMs : undefined;
      if (asked !== undefined && asked > MAX_RETRY_AFTER_MS) throw error;
      const delay = (asked ?? 0) + backoff(attempt, policy);
      if (Date.now() + delay > start + policy.deadlineMs) throw error;
      try {
        await sleep(delay, undefined, { signal: options.signal });
      } catch {
        throwIfAborted(options);
      }
    },
  };
}

function attemptsFor(error: RafterError, { attempts, refusedAttempts }: RetryPolicy): number {
  return isRefusedConnection(error) ? Math.min(attempts, refusedAttempts) : attempts;
}

/** Exponential, with the upper half at random so that many clients do not come back at the same moment. */
function backoff(attempt: number, { baseDelayMs, maxDelayMs }: RetryPolicy): number {
  const full = Math.min(maxDelayMs, baseDelayMs * 2 ** (attempt - 1));
  return full / 2 + Math.random() * (full / 2);
}

function throwIfAborted({ signal, name }: RetryOptions): void {
  if (signal?.aborted) throw new RafterError('INTERRUPTED', `${name}: interrupted`, { cause: signal.reason });
}
