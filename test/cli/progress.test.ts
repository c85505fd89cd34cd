import { PassThrough } from 'node:stream';
import { expect, it, vi } from 'vitest';
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

/** What is drawn of `update`s on a terminal of so many columns, once it is there; escapes left out. */
async function drawn(columns: number, update: (progress: ReturnType<typeof createProgress>) => void) {
  const { stream, text } = fakeStream(true);
  stream.columns = columns;
  const progress = createProgress({ quiet: false, stream });
  update(progress);
  let shown = '';
  await vi.waitFor(() => {
    shown += text();
    expect(shown).not.toBe('');
  });
  return { stream, text, progress, lines: shown.trimEnd().split('\n') };
}

it('guesses the time that is left in whole seconds, and none where all bytes are there', async () => {
  const { lines, progress } = await drawn(100, ({ update }) => {
    update('one', 500_000, 1_000_000);
    update('two', 1000, 1000);
    update('three', 0, 1000);
  });
  progress.close();
  expect(lines).toEqual([
    expect.stringMatching(/ {2}1 s left$/),
    expect.stringMatching(/^two.*1\.0 kB of 1\.0 kB .*\/s {2}finishing$/),
    expect.stringMatching(/ {2}\? left$/),
  ]);
});

it('fits into any width: a shorter bar, then none, then no rate, then less of the label', async () => {
  const label = 'registry.example.com/team/app:v1';
  const lineAt = async (columns: number) => {
    const { lines, progress } = await drawn(columns, ({ update }) => update(label, 500_000, 1_000_000));
    progress.close();
    expect(lines).toHaveLength(1);
    expect(lines[0]!.length).toBeLessThan(columns);
    return lines[0]!;
  };
  expect(await lineAt(120)).toMatch(/app:v1 {2}\[#{12}-{12}\] 500 kB of 1.0 MB {2}\S+ \S+\/s {2}.* left$/);
  expect(await lineAt(95)).toMatch(/app:v1 {2}\[#{4,11}-{4,11}\] 500 kB of 1.0 MB {2}\S+ \S+\/s {2}.* left$/);
  expect(await lineAt(80)).toMatch(/app:v1 {2}500 kB of 1.0 MB {2}\S+ \S+\/s {2}.* left$/);
  expect(await lineAt(66)).toMatch(/app:v1 {2}500 kB of 1.0 MB {2}[^/]* left$/);
  expect(await lineAt(45)).toMatch(/^….*:v1 {2}500 kB of 1.0 MB {2}.* left$/);
  for (const columns of [30, 20, 10, 2]) await lineAt(columns);
});

it('erases what a terminal that has become narrower shows in more lines', async () => {
  const { stream, text, progress, lines } = await drawn(100, ({ update }) => {
    update('layer 1', 500_000, 1_000_000);
    update('layer 2', 1000);
  });
  stream.columns = 50;
  progress.close();
  const rows = lines.map((line) => Math.ceil(line.length / 50)).reduce((a, b) => a + b);
  expect(rows).toBe(3);
  expect(text()).toBe(`\x1b[${rows}A\x1b[J`);
});
