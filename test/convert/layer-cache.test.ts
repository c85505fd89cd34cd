import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LayerCache } from '../../src/convert/layer-cache.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-records-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const key = (name: string) => name.repeat(64);

it('gives back what was kept, also to another process, and nothing else', async () => {
  const record = randomBytes(5000);
  const cache = new LayerCache(join(dir, 'new'));
  expect(await cache.read(key('a'))).toBeUndefined();
  await cache.write(key('a'), record);
  expect(await new LayerCache(join(dir, 'new')).read(key('a'))).toEqual(record);
  expect(await cache.read(key('b'))).toBeUndefined();
});

it('removes what was used longest ago when there is too much', async () => {
  const cache = new LayerCache(dir, { maxSize: 3500 });
  for (const [i, name] of ['a', 'b', 'c'].entries()) {
    await cache.write(key(name), randomBytes(1000));
    utimesSync(join(dir, key(name)), 1000 + i, 1000 + i);
  }
  expect(readdirSync(dir).sort()).toEqual(['a', 'b', 'c'].map(key));
  // Reading is use.
  expect(await cache.read(key('a'))).toBeDefined();
  await cache.write(key('d'), randomBytes(1000));
  expect(readdirSync(dir).sort()).toEqual(['a', 'c', 'd'].map(key));
});

it('does not keep one record that alone is too much', async () => {
  const cache = new LayerCache(dir, { maxSize: 3500 });
  await cache.write(key('a'), randomBytes(1000));
  await cache.write(key('b'), randomBytes(4000));
  expect(readdirSync(dir)).toEqual([key('a')]);
});

it('removes records that were never finished, and no others', async () => {
  const cache = new LayerCache(dir);
  await cache.sweep();
  await cache.write(key('a'), randomBytes(10));
  for (const name of ['new-1', 'new-2', key('b')]) writeFileSync(join(dir, name), '');
  for (const name of ['new-1', key('b')]) utimesSync(join(dir, name), 1000, 1000);
  await cache.sweep();
  expect(readdirSync(dir).sort()).toEqual([key('a'), key('b'), 'new-2']);
});
