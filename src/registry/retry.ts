import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../errors.js';
import { RegistryError } from './error.js';

/** How temporary failures are repeated. Times in milliseconds. */
export interface RetryPolicy {
  /** How often the work is tried in all. */
  attempts: number;
  /** Wait before the second attempt; doubled for each further one. */
  baseDelayMs: number;
  maxDelayMs: number;
  /** No attempt is begun later than this after the first. */
  deadlineMs: number;
}

/** About half a minute of trying: longer than a registry's restart, shorter than a person's patience. */
export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 7,
  baseDelayMs: 250,
  maxDelayMs: 15_000,
  deadlineMs: 120_000,
};

/** Longest wait that a server's Retry-After is granted; a server that asks for more is reported as unavailable. */
const MAX_RETRY_AFTER_MS = 60_000;

export interface RetryOptions {
  policy: RetryPolicy;
  signal?: AbortSignal | undefined;
  /** Names the work when it is interrupted. */
  name: string;
}

/**
 * Runs `work` until it succeeds, fails with an error that is not temporary, or the policy is used up: then the last
 * error is thrown. INTERRUPTED at once when `signal` is aborted, also during a wait. `work` must be safe to repeat.
 */
export async function withRetry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const start = Date.now();
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(options);
    try {
      return await work();
    } catch (error) {
      throwIfAborted(options);
      await waitBeforeRetry(error, attempt, start, options);
    }
  }
}

/**
 * Waits as long as the policy says after failed attempt number `attempt` (1 is the first) of work begun at `start`
 * (ms since the epoch). Throws `error` instead if it is not temporary or no attempt is left.
 */
export async function waitBeforeRetry(
  error: unknown,
  attempt: number,
  start: number,
  options: RetryOptions,
): Promise<void> {
  const { policy } = options;
  if (!isRafterError(error) || !error.temporary || attempt >= policy.attempts) throw error;
  const asked = error instanceof RegistryError ? error.retryAfterMs : undefined;
  if (asked !== undefined && asked > MAX_RETRY_AFTER_MS) throw error;
  const delay = Math.max(asked ?? 0, backoff(attempt, policy));
  if (Date.now() + delay > start + policy.deadlineMs) throw error;
  try {
    await sleep(delay, undefined, { signal: options.signal });
  } catch {
    throwIfAborted(options);
  }
}

/** Exponential, with the upper half at random so that many clients do not come back at the same moment. */
function backoff(attempt: number, { baseDelayMs, maxDelayMs }: RetryPolicy): number {
  const full = Math.min(maxDelayMs, baseDelayMs * 2 ** (attempt - 1));
  return full / 2 + Math.random() * (full / 2);
}

function throwIfAborted({ signal, name }: RetryOptions): void {
  if (signal?.aborted) throw new RafterError('INTERRUPTED', `${name}: interrupted`, { cause: signal.reason });
}
