import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FLOOR_BYTES_PER_SECOND, watchFloor } from '../../src/registry/body-floor.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A body that is watched by 5 seconds. */
function watched() {
  const body = new PassThrough();
  const errors: unknown[] = [];
  body.on('error', (error) => errors.push(error));
  const floor = watchFloor(body, { windowMs: 5000, onSlow: () => new Error('slow') });
  return { body, errors, floor };
}

it('lets a body be that brings just enough', async () => {
  const { body, floor } = watched();
  for (let second = 0; second < 60; second++) {
    floor.note(FLOOR_BYTES_PER_SECOND);
    vi.advanceTimersByTime(1000);
  }
  expect(body.destroyed).toBe(false);
  const closed = once(body, 'close');
  body.destroy();
  await closed;
  expect(vi.getTimerCount()).toBe(0);
});

it('ends one that brings a byte less, once, after its time', async () => {
  const { body, floor, errors } = watched();
  floor.note(5 * FLOOR_BYTES_PER_SECOND - 1);
  vi.advanceTimersByTime(4999);
  expect(body.destroyed).toBe(false);
  vi.advanceTimersByTime(1);
  expect(body.destroyed).toBe(true);
  await vi.waitFor(() => expect(errors).toEqual([new Error('slow')]));
  expect(vi.getTimerCount()).toBe(0);
});

it('counts what comes at once for all of its time, as pieces do', () => {
  const { body, floor } = watched();
  for (let piece = 0; piece < 10; piece++) {
    floor.note(4 << 20);
    vi.advanceTimersByTime(5000);
  }
  expect(body.destroyed).toBe(false);
});

it('does not blame a body for a reader who leaves its bytes lying', () => {
  const { body } = watched();
  body.write('some');
  vi.advanceTimersByTime(60_000);
  expect(body.destroyed).toBe(false);
  body.read();
  vi.advanceTimersByTime(5000);
  expect(body.destroyed).toBe(true);
});
