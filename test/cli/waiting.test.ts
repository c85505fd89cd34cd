import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sayWaiting } from '../../src/cli/waiting.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function terminal(columns: number) {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream & PassThrough;
  stream.isTTY = true;
  stream.columns = columns;
  return { stream, text: () => String(stream.read() ?? '') };
}

it('says after a second what is waited for, counts, and takes it away', () => {
  const { stream, text } = terminal(80);
  const done = sayWaiting('mounting host/image:tag', { quiet: false, stream });
  vi.advanceTimersByTime(999);
  expect(text()).toBe('');
  vi.advanceTimersByTime(1001);
  expect(text()).toBe('\rmounting host/image:tag  1 s\x1b[K\rmounting host/image:tag  2 s\x1b[K');
  done();
  done();
  expect(text()).toBe('\r\x1b[K');
  vi.advanceTimersByTime(5000);
  expect(text()).toBe('');
});

it('fits into a narrow terminal', () => {
  const { stream, text } = terminal(20);
  sayWaiting('mounting host/image:tag', { quiet: false, stream });
  vi.advanceTimersByTime(1000);
  expect(text()).toBe('\rmounting host…  1 s\x1b[K');
});

it('says nothing when that took no second, when quiet, and where there is no terminal', () => {
  const { stream, text } = terminal(80);
  sayWaiting('x', { quiet: false, stream })();
  sayWaiting('x', { quiet: true, stream });
  stream.isTTY = false;
  sayWaiting('x', { quiet: false, stream });
  vi.advanceTimersByTime(5000);
  expect(text()).toBe('');
});
