import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createIdleTimer, type IdleTimer } from '../../../src/mount/daemon/idle-timer.js';

let timer: IdleTimer | undefined;
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  timer?.close();
  vi.useRealTimers();
});

it('calls once after so many seconds of nothing', () => {
  const onIdle = vi.fn();
  timer = createIdleTimer(60, onIdle);
  vi.advanceTimersByTime(59_000);
  expect(onIdle).not.toHaveBeenCalled();
  vi.advanceTimersByTime(120_000);
  expect(onIdle).toHaveBeenCalledTimes(1);
});

it('counts from the end of the last request', () => {
  const onIdle = vi.fn();
  timer = createIdleTimer(10, onIdle);
  vi.advanceTimersByTime(8_000);
  timer.change(1);
  vi.advanceTimersByTime(100_000);
  expect(onIdle).not.toHaveBeenCalled();
  timer.change(-1);
  vi.advanceTimersByTime(9_000);
  expect(onIdle).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2_000);
  expect(onIdle).toHaveBeenCalledTimes(1);
});

it('waits while something else keeps the daemon needed', () => {
  const onIdle = vi.fn();
  let mounts = 1;
  timer = createIdleTimer(5, onIdle);
  timer.watch(() => mounts);
  vi.advanceTimersByTime(60_000);
  expect(onIdle).not.toHaveBeenCalled();
  mounts = 0;
  vi.advanceTimersByTime(6_000);
  expect(onIdle).toHaveBeenCalledTimes(1);
});

it('never calls with zero seconds', () => {
  const onIdle = vi.fn();
  timer = createIdleTimer(0, onIdle);
  vi.advanceTimersByTime(1e9);
  expect(onIdle).not.toHaveBeenCalled();
});
