import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { withWorkspace } from './workspace.mjs';

it('a workspace ends what was begun, the last first, and goes, whatever fails', async () => {
  const before = process.listenerCount('SIGINT');
  const ended: string[] = [];
  let place = '';
  const broken = withWorkspace(async (dir, later) => {
    place = dir;
    writeFileSync(join(dir, 'file'), 'x');
    later(() => ended.push('first'));
    later(async () => {
      expect(existsSync(join(dir, 'file'))).toBe(true);
      ended.push('second');
      throw new Error('the second would not end');
    });
    later(() => ended.push('third'));
  });
  await expect(broken).rejects.toThrow('the second would not end');
  expect(ended).toEqual(['third', 'second', 'first']);
  expect(existsSync(place)).toBe(false);
  expect(process.listenerCount('SIGINT')).toBe(before);
});

it('a workspace gives what the work made of it', async () => {
  const before = process.listenerCount('SIGINT');
  expect(await withWorkspace(async (dir) => existsSync(dir))).toBe(true);
  expect(process.listenerCount('SIGINT')).toBe(before);
});

it('a workspace whose work fails because it is interrupted ends all the same, all of it', async () => {
  const code = `
import { setTimeout as sleep } from 'node:timers/promises';
import { withWorkspace } from ${JSON.stringify(join(import.meta.dirname, 'workspace.mjs'))};
await withWorkspace(async (dir, later) => {
  later(() => sleep(50).then(() => console.log('ended')));
  const failed = new Promise((_, reject) => process.once('SIGTERM', () => reject(new Error('cut off'))));
  setInterval(() => {}, 1000);
  console.log(dir);
  await failed;
});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const output = text(child.stdout);
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([1, null]);
  const [dir, ended] = (await output).trim().split('\n');
  expect(ended).toBe('ended');
  expect(existsSync(dir!)).toBe(false);
});
