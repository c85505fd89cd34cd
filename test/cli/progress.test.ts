import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { createProgress } from '../../src/cli/progress.js';

function fakeStream(isTTY: boolean) {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream & PassThrough;
  stream.isTTY = isTTY;
  stream.columns = 100;
  return { stream, text: () => String(stream.read() ?? '') };
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

it('writes a plain line for each finished step where there is no terminal', () => {
  const { stream, text } = fakeStream(false);
  const progress = createProgress({ quiet: false, stream });
  progress.update('layer 1', 500, 1000);
  progress.update('layer 1', 1_000_000, 1_000_000);
  progress.finish('layer 1');
  progress.finish('manifest', 'pushed');
  progress.close();
  expect(text()).toMatch(/^layer 1: 1.0 MB in \d+ ms\nmanifest: pushed\n$/);
});

it('draws bars on a terminal, again and again in one place, and leaves nothing behind', async () => {
  const { stream, text } = fakeStream(true);
  const progress = createProgress({ quiet: false, stream });
  progress.update('layer 1', 500_000, 1_000_000);
  progress.update('layer 2', 1000);
  await pause(150);
  const first = text();
  expect(first).toContain('layer 1  [############------------] 500 kB of 1.0 MB');
  expect(first).toContain('layer 2  1.0 kB');
  progress.update('layer 1', 750_000);
  await pause(150);
  expect(text().startsWith('\x1b[2A\x1b[J')).toBe(true);
  progress.close();
  expect(text()).toBe('\x1b[2A\x1b[J');
});

it('says nothing when quiet', () => {
  const { stream, text } = fakeStream(true);
  const progress = createProgress({ quiet: true, stream });
  progress.update('layer 1', 1, 2);
  progress.finish('layer 1');
  expect(text()).toBe('');
});
