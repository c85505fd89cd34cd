import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeDirectories, makeDirectoriesSync } from '../../src/os/make-directories.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-make-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const ways = {
  makeDirectories,
  makeDirectoriesSync: async (path: string, mode?: number) => makeDirectoriesSync(path, mode),
};

describe.each(Object.entries(ways))('%s', (_, make) => {
  it('makes what is missing, with the mode, and takes what is there', async () => {
    const path = join(dir, 'a/b/c');
    await make(path, 0o700);
    expect(statSync(join(dir, 'a/b')).mode & 0o777).toBe(0o700);
    await make(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    symlinkSync('a', join(dir, 'link'));
    await make(join(dir, 'link'));
    await make(join(dir, 'link/d'));
    expect(existsSync(join(dir, 'a/d'))).toBe(true);
  });

  it('fails where something else is in the way', async () => {
    writeFileSync(join(dir, 'file'), '');
    symlinkSync('nowhere', join(dir, 'dangling'));
    await expect(make(join(dir, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(make(join(dir, 'file/x/y'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(make(join(dir, 'dangling/x'))).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('ends, with an error, below directories that take no names', async () => {
    await expect(make('/proc/no-such/directory')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

it('is how all of the program makes directories above others', () => {
  const source = resolve(import.meta.dirname, '../../src');
  for (const file of readdirSync(source, { recursive: true, encoding: 'utf8' }))
    if (file.endsWith('.ts'))
      expect(readFileSync(join(source, file), 'utf8'), file).not.toMatch(/mkdir(?:Sync)?\([^;]*recursive:/);
});
