import { join, resolve } from 'node:path';
import type { TreeField } from './tree.js';

/** Layer files, lowest first, of an image full of odd cases (fixtures/golden/README.md). */
export const oddLayers: string[] = ['full1', 'full2', 'full3'].map((name) =>
  resolve(join(import.meta.dirname, '../../fixtures/golden/in', `${name}.tar.gz`)),
);

/**
 * Where umoci's result for that image is not what the layers say: it gives directories that no layer lists, and the root,
 * the time of unpacking; the file system it unpacks to cannot hold a time beyond the year 2446; Go's tar reader drops
 * empty PAX values; and umoci drops overlay's own xattrs.
 */
export function umociLimits(path: string, field: TreeField, expected: string): boolean {
  if (field === 'mtime') return ['/', '/usr-merge-target', '/times/far-base256'].includes(path);
  if (field === 'xattrs')
    return path === '/xattrs/opaque-style' || (path === '/xattrs/user' && expected !== '');
  return false;
}
