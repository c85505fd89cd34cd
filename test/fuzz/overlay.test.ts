import { collectLosses } from '../../src/convert/losses.js';
import { emptyTree, LayerOverlay } from '../../src/convert/overlay.js';
import { readTar } from '../../src/convert/tar-reader.js';
import { MAX_NAME_SIZE } from '../../src/rafs/limits.js';
import type { TreeNode } from '../../src/rafs/tree.js';
import { inPieces } from '../convert/read-all.js';
import { fuzz } from '../support/fuzz.js';
import { pick } from '../support/mutate.js';
import { damagedTar, goldenTars, layerTar } from '../support/tar-samples.js';

const MAX_NODES = 10_000;
const layer = layerTar();
const samples = [layer, layer, layer, ...goldenTars()];

fuzz('damaged layers over each other stay in their tree', {
  name: 'layer ',
  run: async (next) => {
    const root = emptyTree();
    const lossy = next(2) === 0;
    for (const name of ['layer 1', 'layer 2', 'layer 3']) {
      const { tar, places } = pick(samples, next);
      const bytes = next(3) === 0 ? tar : damagedTar({ tar, places }, next);
      const overlay = new LayerOverlay(root, { layer: name, losses: collectLosses(lossy) });
      for await (const entry of readTar(inPieces(bytes), name)) {
        overlay.apply(entry);
      }
      overlay.finish();
      checkTree(root);
    }
  },
});

/** Throws unless this is a tree whose names are such as a directory can have. */
function checkTree(root: TreeNode): void {
  const seen = new Set<TreeNode>();
  const visit = (node: TreeNode) => {
    if (seen.has(node)) throw new Error('a node stands twice in the tree');
    if (seen.add(node).size > MAX_NODES) throw new Error('more nodes than the layers have entries');
    if ((node.inode.type === 'dir') !== (node.children !== undefined))
      throw new Error('children of no directory');
    for (const [name, child] of node.children ?? []) {
      if (name.length > MAX_NAME_SIZE) throw new Error(`a name of ${name.length} bytes`);
      const bytes = Buffer.from(name, 'latin1').toString('latin1');
      if (['', '.', '..'].includes(name) || /[/\0]/.test(name) || bytes !== name) {
        throw new Error(`${JSON.stringify(name)} in a directory`);
      }
      visit(child);
    }
  };
  visit(root);
}
