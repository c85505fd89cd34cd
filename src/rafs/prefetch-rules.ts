import { RafterError } from '../errors.js';
import type { TreeLayout } from './tree-layout.js';

/**
 * The inodes (positions in `layout`) that prefetch rules name, in the order of the rules. A rule is the absolute path of a file
 * or directory. One that an earlier rule covers (the same path or a directory above it) or that names nothing is passed
 * over. Throws USAGE for a path that is not absolute.
 */
export function matchPrefetchRules(layout: TreeLayout, rules: readonly Buffer[]): number[] {
  const covered = new Set<string>();
  return rules.flatMap((rule) => {
    const text = rule.toString('latin1');
    if (!text.startsWith('/')) throw new RafterError('USAGE', `prefetch path "${rule}" must be absolute`);
    const names = text.split('/').filter((name) => name !== '');
    if (names.some((_, i) => covered.has(pathOf(names.slice(0, i + 1)))) || covered.has('/')) return [];
    covered.add(pathOf(names));
    const found = findPlaced(layout, names);
    return found === undefined ? [] : [found];
  });
}

function pathOf(names: readonly string[]): string {
  return `/${names.join('/')}`;
}

function findPlaced({ directories }: TreeLayout, path: readonly string[]): number | undefined {
  let at: number | undefined = 0;
  for (const name of path) {
    const directory = directories.get(at);
    // These two are no names of files.
    if (!directory || name === '.' || name === '..') return undefined;
    at = directory.targets[directory.names.indexOf(name)];
    if (at === undefined) return undefined;
  }
  return at;
}
