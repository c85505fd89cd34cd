import { expect, it, vi } from 'vitest';
import { RafterError } from '../../src/errors.js';
import { RegistryError } from '../../src/registry/error.js';
import { withRetry } from '../../src/registry/retry.js';

const policy = { attempts: 4, refusedAttempts: 2, baseDelayMs: 1, maxDelayMs: 4, deadlineMs: 5_000 };
const options = { policy, name: 'the work' };
const temporary = () => new RafterError('UNAVAILABLE', 'down');
const busy = (retryAfter: string) =>
  new RegistryError('GET x', { status: 429, headers: { 'retry-after': retryAfter }, body: '' });

it('repeats temporary failures until one attempt succeeds', async () => {
  const work = vi
    .fn()
    .mockRejectedValueOnce(temporary())
    .mockRejectedValueOnce(temporary())
    .mockResolvedValue('done');
  expect(await withRetry(work, options)).toBe('done');
  expect(work).toHaveBeenCalledTimes(3);
});

it('throws the last error when the attempts are used up', async () => {
  const work = vi.fn().mockRejectedValue(temporary());
  await expect(withRetry(work, options)).rejects.toThrow('down');
  expect(work).toHaveBeenCalledTimes(4);
});

it.each([new RafterError('DENIED', 'no'), new TypeError('a bug')])('does not repeat %s', async (error) => {
  const work = vi.fn().mockRejectedValue(error);
  await expect(withRetry(work, options)).rejects.toBe(error);
  expect(work).toHaveBeenCalledTimes(1);
});

it('waits as long as the server asks', async () => {
  const work = vi.fn().mockRejectedValueOnce(busy('1')).mockResolvedValue('done');
  const start = performance.now();
  await withRetry(work, options);
  expect(performance.now() - start).toBeGreaterThan(950);
});

it('does not wait longer than its deadline or an hour for a server', async () => {
  for (const seconds of ['20', '3600']) {
    const start = performance.now();
    await expect(withRetry(() => Promise.reject(busy(seconds)), options)).rejects.toMatchObject({
      status: 429,
    });
    expect(performance.now() - start).toBeLessThan(5_000);
  }
});

it('ends at once when it is interrupted, before, during and between attempts', async () => {
  const done = AbortSignal.abort();
  const never = vi.fn();
  await expect(withRetry(never, { ...options, signal: done })).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(never).not.toHaveBeenCalled();

  const slow = { ...policy, baseDelayMs: 60_000, maxDelayMs: 60_000, deadlineMs: 600_000 };
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  const start = performance.now();
  await expect(
    withRetry(() => Promise.reject(temporary()), {
      policy: slow,
      signal: controller.signal,
      name: 'the work',
    }),
  ).rejects.toMatchObject({ code: 'INTERRUPTED', message: 'the work: interrupted' });
  expect(performance.now() - start).toBeLessThan(20_000);

  const during = new AbortController();
  const work = () => {
    during.abort();
    return Promise.reject(temporary());
  };
  await expect(withRetry(work, { ...options, signal: during.signal })).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
});

it('gives up sooner where nobody listens', async () => {
  const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  const work = vi.fn().mockRejectedValue(new RafterError('UNAVAILABLE', 'refused', { cause }));
  await expect(withRetry(work, options)).rejects.toThrow('refused');
  expect(work).toHaveBeenCalledTimes(2);
});

it('begins to count anew when a MiB has moved since the last failure', async () => {
  let done = 0;
  const work = vi.fn(async () => {
    done += work.mock.calls.length <= 6 ? 1 << 20 : 0;
    throw temporary();
  });
  await expect(withRetry(work, { ...options, progress: () => done })).rejects.toThrow('down');
  expect(work).toHaveBeenCalledTimes(6 + 3);
});
