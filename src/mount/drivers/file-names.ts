import type { NodeId } from '../../fuse/file-system.js';
import type { Bootstrap } from '../../rafs/bootstrap.js';
import { walk } from '../../rafs/walk.js';

/** Names that are kept, so that a log full of errors about one file costs one search. */
const MAX_KNOWN = 256;
/** Names that one search looks at. */
const MAX_SEARCHED = 500_000;

/**
 * Finds the path of a file by its number, for messages: the kernel asks by number only. Searches the whole tree, so this is
 * for rare events. A number that no name leads to becomes `inode N`.
 */
export function createFileNames(bootstrap: Bootstrap): (node: NodeId) => string {
  const known = new Map<NodeId, string>();
  const search = (node: NodeId): string => {
    let searched = 0;
    try {
      for (const { path, inode } of walk(bootstrap)) {
        if (inode.nid === node) return path.toString();
        if (++searched > MAX_SEARCHED) break;
      }
    } catch {
      // Damage in the tree is reported where it is read.
    }
    return `inode ${node}`;
  };
  return (node) => {
    const found = known.get(node) ?? search(node);
    if (known.size < MAX_KNOWN) known.set(node, found);
    return found;
  };
}
