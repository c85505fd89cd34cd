import { expect, it } from 'vitest';
import { PathResolver } from '../../src/fuse/path-resolver.js';
import { MemoryFs } from './memory-fs.js';

function tree() {
  const fs = new MemoryFs();
  const a = fs.addDirectory(1, 'a');
  const b = fs.addDirectory(a, 'b');
  const file = fs.addFile(b, Buffer.from([0xff, 0x2e]), Buffer.from('x'));
  return { fs, a, b, file };
}
const raw = Buffer.concat([Buffer.from('/a/b/'), Buffer.from([0xff, 0x2e])]);

it('walks from the root by bytes, and finds the root itself', () => {
  const { fs, a, file } = tree();
  const resolver = new PathResolver(fs);
  expect(resolver.resolve(Buffer.from('/'))).toBe(1);
  expect(resolver.resolve(Buffer.from('/a'))).toBe(a);
  expect(resolver.resolve(raw)).toBe(file);
});

it('asks the file system once per path component, and not at all for a known path', () => {
  const { fs } = tree();
  const resolver = new PathResolver(fs);
  resolver.resolve(raw);
  expect(fs.lookups).toBe(3);
  resolver.resolve(raw);
  resolver.resolve(Buffer.from('/a/b'));
  expect(fs.lookups).toBe(3);
  expect(() => resolver.resolve(Buffer.from('/a/b/none'))).toThrow(/ENOENT/);
  expect(fs.lookups).toBe(4);
});

it('passes on what lookup throws, also below a file', () => {
  const { fs } = tree();
  const resolver = new PathResolver(fs);
  expect(() => resolver.resolve(Buffer.from('/nowhere/b'))).toThrow(/ENOENT/);
  expect(() => resolver.resolve(Buffer.concat([raw, Buffer.from('/c')]))).toThrow(/ENOTDIR/);
});

it('forgets what was used least recently and still finds it', () => {
  const { fs, a, b } = tree();
  const resolver = new PathResolver(fs, { capacity: 2 });
  for (let i = 0; i < 50; i++) fs.addFile(b, `f${i}`, Buffer.alloc(0));
  for (let i = 0; i < 50; i++) resolver.resolve(Buffer.from(`/a/b/f${i}`));
  const before = fs.lookups;
  expect(resolver.resolve(Buffer.from('/a/b/f0'))).toBeGreaterThan(b);
  expect(fs.lookups).toBeGreaterThan(before);
  expect(resolver.resolve(Buffer.from('/a'))).toBe(a);
});

it('walks a path of thousands of components', () => {
  const fs = new MemoryFs();
  let node = 1;
  for (let i = 0; i < 3000; i++) node = fs.addDirectory(node, 'd');
  expect(new PathResolver(fs).resolve(Buffer.from('/d'.repeat(3000)))).toBe(node);
});
