import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { withWorkspace } from './workspace.mjs';

it('a workspace ends what was begun, the last first, and goes, whatever fails', async () => {
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
});

it('a workspace gives what the work made of it', async () => {
  const before = process.listenerCount('SIGINT');
  expect(await withWorkspace(async (dir) => existsSync(dir))).toBe(true);
  expect(process.listenerCount('SIGINT')).toBe(before);
});
