import picomatch from 'picomatch';
import { RafterError } from '../errors.js';
import type { TreeNode } from '../rafs/tree.js';

/** Most characters of a pattern. */
export const MAX_PATTERN_LENGTH = 4096;
/** Most files and directories that the patterns of one image name. */
const MAX_PATTERN_MATCHES = 1 << 16;

const OPTIONS = { dot: true, nonegate: true, maxLength: MAX_PATTERN_LENGTH };

/**
 * What `patterns` name in an image's tree, in their order and in it in the order of the paths' bytes: paths as bytes, none below
 * another one that the same pattern names. A pattern is the absolute path of a file or directory, or, if there is none of that name, a
 * glob: `*`, `**`, `?`, `[a-z]`, `{a,b}`, which match dots, too; `\` takes the meaning from the next character. `unmatched` has those that
 * name nothing. LIMIT_EXCEEDED for more than MAX_PATTERN_MATCHES paths.
 */
export function expandPatterns(
  root: TreeNode,
  patterns: readonly string[],
  { maxMatches = MAX_PATTERN_MATCHES } = {},
): { paths: Buffer[]; unmatched: string[] } {
  const paths: Buffer[] = [];
  const unmatched: string[] = [];
  for (const pattern of patterns) {
    const before = paths.length;
    const bytes = Buffer.from(pattern);
    if (isThere(root, bytes.toString('latin1'))) paths.push(bytes);
    else if (picomatch.scan(pattern, OPTIONS).isGlob)
      for (const path of matches(root, picomatch(pattern, OPTIONS))) {
        paths.push(path);
        if (paths.length > maxMatches)
          throw new RafterError(
            'LIMIT_EXCEEDED',
            `prefetch pattern ${JSON.stringify(pattern)}: more than ${maxMatches} files and directories`,
            { hint: 'a directory stands for everything in it' },
          );
      }
    if (paths.length === before) unmatched.push(pattern);
  }
  return { paths, unmatched };
}

function isThere(root: TreeNode, path: string): boolean {
  let node: TreeNode | undefined = root;
  for (const name of path.split('/')) if (name !== '') node = node?.children?.get(name);
  return node !== undefined;
}

/** Paths that `isMatch`, a directory in place of all that is in it. */
function* matches(root: TreeNode, isMatch: (path: string) => boolean): Generator<Buffer> {
  const open: { path: string; node: TreeNode }[] = [{ path: '', node: root }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { path, node } = next;
    const bytes = Buffer.from(path || '/', 'latin1');
    // The whole tree would say nothing.
    if (path !== '' && isMatch(bytes.toString())) {
      yield bytes;
      continue;
    }
    const names = [...(node.children?.keys() ?? [])].sort().reverse();
    for (const name of names) open.push({ path: `${path}/${name}`, node: node.children!.get(name)! });
  }
}
