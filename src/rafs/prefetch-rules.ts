import { RafterError } from '../errors.js';
import type { TreeNode } from './tree.js';
import type { PlacedInode } from './tree-layout.js';

/**
 * The inodes that prefetch rules name, in the order of the rules. A rule is the absolute path of a file or directory. One
 * that an earlier rule covers (the same path or a directory above it) or that names nothing is passed over.
 * Throws USAGE for a path that is not absolute.
 */
export function matchPrefetchRules(root: PlacedInode, rules: readonly Buffer[]): PlacedInode[] {
  const covered = new Set<string>();
  return rules.flatMap((rule) => {
    const text = rule.toString('latin1');
    if (!text.startsWith('/')) throw new RafterError('USAGE', `prefetch path "${rule}" must be absolute`);
    const names = text.split('/').filter((name) => name !== '');
    if (names.some((_, i) => covered.has(pathOf(names.slice(0, i + 1)))) || covered.has('/')) return [];
    covered.add(pathOf(names));
    const found = findPlaced(root, names);
    return found ? [found] : [];
  });
}

function pathOf(names: readonly string[]): string {
  return `/${names.join('/')}`;
}

function findPlaced(root: PlacedInode, names: readonly string[]): PlacedInode | undefined {
  let at: PlacedInode | undefined = root;
  for (const name of names) {
    at = at.entries.find(({ node, name: entryName }) => isNamed(node, entryName, name))?.to;
    if (!at) return undefined;
  }
  return at;
}

/** Whether an entry is a child (not "." or "..") called `wanted`. */
function isNamed(node: TreeNode | undefined, name: Buffer, wanted: string): boolean {
  return node !== undefined && name.toString('latin1') === wanted;
}
