import { mkdtempSync, rmSync } from 'node:fs';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  journalPath,
  keepJournal,
  readJournal,
  removeOtherJournals,
} from '../../../src/mount/trace/trace-journal.js';
import { clock, shareTrace, TraceMemory } from '../../../src/mount/trace/trace-memory.js';
import { traceOf } from '../../trace/traces.js';

const PAGE = 4096;
const onError = (error: unknown) => {
  throw error;
};
const open = () => new TraceMemory(shareTrace([100 * PAGE, 100 * PAGE], clock()));

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-journal-'));
  path = journalPath(directory, 'ab');
});
afterEach(() => rmSync(directory, { recursive: true }));

it('has what a daemon traced, for the next one, which goes on with it', async () => {
  const first = open();
  const journal = keepJournal(path, first, { header: traceOf([]), onError });
  first.local(0, 0, 2 * PAGE);
  await journal.flush();
  first.local(1, 5 * PAGE, PAGE);
  await journal.flush();
  await journal.flush();
  const left = (await readJournal(path))!;
  expect(left).toMatchObject({ ...traceOf([]), touches: first.touches().map(({ offset }) => ({ offset })) });

  const second = open();
  second.restore(left.touches);
  const next = keepJournal(path, second, { known: left.touches.length, onError });
  second.local(0, PAGE, 2 * PAGE);
  await next.flush();
  expect((await readJournal(path))!.touches.map(({ blob, offset }) => [blob, offset])).toEqual([
    [0, 0],
    [1, 5 * PAGE],
    [0, 2 * PAGE],
  ]);
  await journal.remove();
  await next.remove();
  expect(await readdir(directory)).toEqual([]);
});

it('is good up to a line that was not finished', async () => {
  const memory = open();
  const journal = keepJournal(path, memory, { header: traceOf([]), onError });
  memory.local(0, 0, PAGE);
  await journal.flush();
  await appendFile(path, '[0,4096,40');
  expect((await readJournal(path))!.touches).toHaveLength(1);
  await journal.remove();
});

it('is nothing where there is none, and an error where it is damaged', async () => {
  expect(await readJournal(path)).toBeUndefined();
  await writeFile(path, 'x\n');
  await expect(readJournal(path)).rejects.toMatchObject({ code: 'MALFORMED' });
});

it('says once that it cannot be written, and writes no more', async () => {
  const memory = open();
  const errors: unknown[] = [];
  await writeFile(join(directory, 'file'), '');
  const journal = keepJournal(join(directory, 'file/journal'), memory, {
    header: traceOf([]),
    onError: (error) => errors.push(error),
  });
  memory.local(0, 0, PAGE);
  await journal.flush();
  memory.local(0, PAGE, PAGE);
  await journal.flush();
  expect(errors).toMatchObject([{ code: expect.stringMatching(/EEXIST|ENOTDIR/) }]);
  await journal.remove().catch(() => {});
});

it('goes with its mount', async () => {
  await writeFile(path, '');
  await writeFile(journalPath(directory, 'cd'), '');
  await writeFile(join(directory, 'other'), 'kept');
  await removeOtherJournals(directory, new Set(['cd']));
  expect((await readdir(directory)).sort()).toEqual(['cd.trace', 'other']);
  expect(await readFile(join(directory, 'other'), 'utf8')).toBe('kept');
  await removeOtherJournals(join(directory, 'none'), new Set());
});
