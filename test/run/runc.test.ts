import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findRunc, startFailure } from '../../src/run/runc.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-runc-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function log(...lines: (string | { level: string; msg: string })[]): string {
  const file = join(directory, 'log');
  writeFileSync(
    file,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  return file;
}
const failure = (msg: string) => startFailure(log({ level: 'error', msg: `runc run failed: ${msg}` }));
const start = 'unable to start container process:';

it('finds runc in PATH, else in root’s directories, and only if it can be executed', () => {
  const [first, second] = [join(directory, 'first'), join(directory, 'second')];
  for (const place of [first, second]) {
    mkdirSync(place);
    writeFileSync(join(place, 'runc'), '', { mode: 0o755 });
  }
  expect(findRunc(`${directory}:${first}:${second}`, [])).toBe(join(first, 'runc'));
  expect(findRunc(directory, [second])).toBe(join(second, 'runc'));
  chmodSync(join(first, 'runc'), 0o644);
  expect(findRunc(first, [second])).toBe(join(second, 'runc'));
});

it('says how to install runc if it is missing', () => {
  expect(() => findRunc(directory, [])).toThrowError(
    expect.objectContaining({ code: 'UNSUPPORTED', hint: 'apt-get install runc' }),
  );
});

it('takes an exit code for the container’s if runc logged no error', () => {
  expect(startFailure(join(directory, 'none'))).toBeUndefined();
  expect(startFailure(log({ level: 'warning', msg: 'exec: executable file not found' }))).toBeUndefined();
});

it('tells a missing command, one that cannot be executed, and any other failure apart', () => {
  expect(failure(`${start} exec: "x": executable file not found in $PATH`)).toBe(127);
  expect(failure(`${start} exec: "/x": stat /x: no such file or directory`)).toBe(127);
  expect(failure(`${start} exec: "/x": permission denied`)).toBe(126);
  expect(failure(`${start} exec: "/x": is a directory`)).toBe(126);
  expect(failure(`${start} chdir to cwd ("/root") set in config.json failed: permission denied`)).toBe(126);
  expect(failure(`${start} error mounting "/a" to rootfs at "/b": no such file or directory`)).toBe(125);
  expect(failure('cannot allocate tty')).toBe(125);
});

it('reads a log with a torn line', () => {
  expect(
    startFailure(log({ level: 'error', msg: `${start} exec: "x": permission denied` }, '{"level":"er')),
  ).toBe(126);
});
