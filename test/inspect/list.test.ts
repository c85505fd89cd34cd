import { expect, it } from 'vitest';
import { listImage } from '../../src/inspect/list.js';
import { goldenBootstrap } from '../mount/golden.js';
import { goldenTree } from '../rafs/golden.js';

const bootstrap = goldenBootstrap('full');
const list = (path: string, recursive = false) =>
  [...listImage(bootstrap, Buffer.from(path), { recursive, name: 'full' })].map(({ name }) =>
    name.toString('latin1'),
  );
const paths = goldenTree('full').map(({ path, path64 }) =>
  Buffer.from(path ?? path64!, path === undefined ? 'base64' : 'utf8').toString('latin1'),
);

it('gives the names in a directory in byte order', () => {
  const expected = paths.filter((path) => /^\/links\/[^/]+$/.test(path)).map((path) => path.slice(7));
  expect(expected.length).toBeGreaterThan(5);
  expect(list('/links')).toEqual(expected.sort());
  expect(list('/links/')).toEqual(list('links'));
});

it('gives everything below a directory, relative to it', () => {
  expect(list('/', true).sort()).toEqual(
    paths
      .filter((path) => path !== '/')
      .map((path) => path.slice(1))
      .sort(),
  );
  const below = paths.filter((path) => path.startsWith('/deep/')).map((path) => path.slice(6));
  expect(list('/deep', true).sort()).toEqual(below.sort());
});

it('gives a file as itself, and a symlink unless a directory is behind it', () => {
  expect(list('/links/target')).toEqual(['/links/target']);
  expect(list('/links/short')).toEqual(['/links/short']);
  expect(list('/links/dangling')).toEqual(['/links/dangling']);
  expect(list('/ov/dir-to-symlink')).toEqual(list('/ov/merged'));
});

it('says that a path is not there', () => {
  expect(() => list('/nonesuch')).toThrow(/full: \/nonesuch: no such file/);
});
