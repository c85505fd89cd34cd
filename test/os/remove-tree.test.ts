import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { removeTree } from '../../src/os/remove-tree.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-remove-'));
  mkdirSync(join(dir, 'precious/inside'), { recursive: true });
  writeFileSync(join(dir, 'precious/file'), '');
});
afterEach(() => rmSync(dir, { recursive: true }));

it('removes a tree and follows no symlink, whatever the names', () => {
  const tree = join(dir, 'tree');
  mkdirSync(join(tree, 'a/b/c'), { recursive: true });
  writeFileSync(join(tree, 'a/b/\n$(x)'), '');
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.of(0xff, 0xfe)]), '');
  symlinkSync('../precious', join(tree, 'to-directory'));
  symlinkSync(join(dir, 'precious/file'), join(tree, 'a/to-file'));
  removeTree(tree);
  expect(readdirSync(dir)).toEqual(['precious']);
  expect(readdirSync(join(dir, 'precious')).sort()).toEqual(['file', 'inside']);
});

it('removes a symlink or a file itself, and nothing where nothing is', () => {
  symlinkSync('precious', join(dir, 'link'));
  removeTree(join(dir, 'link'));
  expect(existsSync(join(dir, 'precious/file'))).toBe(true);
  removeTree(join(dir, 'precious/file'));
  removeTree(join(dir, 'no-such'));
  expect(readdirSync(join(dir, 'precious'))).toEqual(['inside']);
});
