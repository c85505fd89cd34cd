import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openDaemonLog } from '../../src/mount/daemon-log.js';
import { readLogTail, sizeOf } from '../../src/mount/log-file.js';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-log-'));
  path = join(dir, 'daemon.log');
});
afterEach(() => rmSync(dir, { recursive: true }));
const lines = () =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

it('writes one JSON object per line, private, with what was thrown as text', () => {
  const log = openDaemonLog(path);
  log.info('mounted', { id: 'a1', size: 5 });
  log.warn('slow');
  log.error('failed', { error: new Error('first\nsecond http://user:pass@host/x') });
  expect(lines()).toEqual([
    { time: expect.stringMatching(/^\d{4}-.*Z$/), level: 'info', message: 'mounted', id: 'a1', size: 5 },
    expect.objectContaining({ level: 'warn', message: 'slow' }),
    expect.objectContaining({ level: 'error', error: 'first second http://host/x' }),
  ]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it('writes no secret, however deep it lies, and takes a message as it is', () => {
  const url = 'http://user:secret@host/x';
  const log = openDaemonLog(path);
  log.info(`100%d of ${url}`, { list: [url, { url }], none: undefined, big: 5n });
  expect(lines()).toEqual([
    {
      time: expect.any(String),
      level: 'info',
      message: '100%d of http://host/x',
      list: ['http://host/x', { url: 'http://host/x' }],
      big: 5,
    },
  ]);
});

it('stays below its limit and keeps the newest lines, whole', () => {
  const log = openDaemonLog(path, { limit: 2000 });
  for (let i = 0; i < 500; i++) {
    log.info(`line ${i}`);
    expect(sizeOf(path)).toBeLessThanOrEqual(2000);
  }
  const kept = lines().map(({ message }) => message);
  expect(kept.at(-1)).toBe('line 499');
  expect(kept.length).toBeGreaterThan(5);
  expect(kept).toEqual(kept.map((_, i) => `line ${500 - kept.length + i}`));
});

it('keeps the file that standard error is appended to', () => {
  const stderr = openSync(path, 'a');
  try {
    const log = openDaemonLog(path, { limit: 1000 });
    for (let i = 0; i < 50; i++) log.info(`line ${i}`);
    writeSync(stderr, 'libfuse says something\n');
    expect(readFileSync(path, 'utf8')).toMatch(/line 49.*\nlibfuse says something\n$/);
  } finally {
    closeSync(stderr);
  }
});

it('loses lines rather than failing when it cannot write', () => {
  const log = openDaemonLog(join(dir, 'none/daemon.log'));
  expect(() => log.info('nobody hears this')).not.toThrow();
});

it('shows the last lines behind a position', () => {
  expect(readLogTail(path)).toBe('');
  appendFileSync(path, 'old\n');
  const from = sizeOf(path);
  expect(readLogTail(path, { from })).toBe('');
  appendFileSync(path, 'one\ntwo\nthree\n');
  expect(readLogTail(path, { from, lines: 2 })).toBe('two\nthree');
  expect(readLogTail(path, { from })).toBe('one\ntwo\nthree');
});

it('has no lines below its level', () => {
  const quiet = openDaemonLog(path, { level: 'warn' });
  for (const level of ['info', 'warn', 'error'] as const) quiet[level](`said as ${level}`);
  expect(readFileSync(path, 'utf8').match(/said as \w+/g)).toEqual(['said as warn', 'said as error']);
});
