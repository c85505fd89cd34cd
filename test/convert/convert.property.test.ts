import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { collectLosses } from '../../src/convert/losses.js';
import { emptyTree, LayerOverlay } from '../../src/convert/overlay.js';
import { readTar } from '../../src/convert/tar-reader.js';
import type { TreeNode } from '../../src/rafs/tree.js';
import { LayerModel, type Operation, toTarItem } from './layer-model.js';
import { convertLayout, makeLayout } from './layouts.js';
import { inPieces } from './read-all.js';
import { readImage } from './read-image.js';
import { makeTar } from './tar-writer.js';

const SEED = 20261121;
const sha256 = (text: string) => createHash('sha256').update(text, 'latin1').digest('hex');

// Few names, so that entries meet; some of them odd.
const name = fc.constantFrom('a', 'b', 'c', '-', '\xe9\xff', 'new\nline', 'n'.repeat(255));
const path = fc.array(name, { minLength: 1, maxLength: 4 });
const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom(
    'file',
    'file',
    'dir',
    'dir',
    'symlink',
    'fifo',
    'hardlink',
    'hardlink',
    'whiteout',
    'opaque',
  ) as fc.Arbitrary<Operation['kind']>,
  path,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 100_000 }),
  mtime: fc.integer({ min: -(2 ** 33), max: 2 ** 34 }),
  content: fc.oneof(
    fc.constantFrom('', 'same', 'x'.repeat(5000)),
    fc.string({ minLength: 1, maxLength: 30, unit: 'grapheme-ascii' }),
    fc.integer({ min: 4000, max: 9000 }).map((size) => 'ab c'.repeat(size / 4)),
  ),
  other: path,
  spelling: fc.nat(20),
});
const stack = fc.array(fc.array(operation, { maxLength: 25 }), { minLength: 1, maxLength: 4 });

/** The tars of the layers, and the model after them. Operations that cannot be (a file as parent, ...) are left out. */
function build(layers: Operation[][]) {
  const model = new LayerModel();
  // x/../ in front of a name is a spelling only while x is no symlink; the model has no x.
  const tars = layers.map((layer) => makeTar(model.apply(layer).map(toTarItem)));
  return { tars, tree: model.tree };
}

it('random layers give the tree that the rules say', async () => {
  await fc.assert(
    fc.asyncProperty(stack, fc.integer({ min: 1, max: 3000 }), async (layers, pieceSize) => {
      const { tars, tree } = build(layers);
      const root = emptyTree();
      for (const tar of tars) {
        const overlay = new LayerOverlay(root, { layer: 'layer', losses: collectLosses(false) });
        for await (const entry of readTar(inPieces(tar, pieceSize), 'layer')) overlay.apply(entry);
        overlay.finish();
      }
      const found = new Map<string, TreeNode>();
      const visit = (node: TreeNode, at: string) => {
        for (const [each, child] of node.children ?? []) {
          found.set(`${at}/${each}`, child);
          visit(child, `${at}/${each}`);
        }
      };
      visit(root, '');
      expect([...found.keys()].sort()).toEqual([...tree.keys()].sort());
      const inodes = new Map<number, unknown>();
      for (const [at, expected] of tree) {
        const { inode } = found.get(at)!;
        expect(inode.type).toBe(expected.type);
        expect([inode.mode & 0o7777, inode.uid, inode.mtimeSec], at).toEqual([
          expected.mode,
          expected.uid,
          expected.mtime,
        ]);
        if (inode.type === 'symlink') expect(inode.target.toString('latin1')).toBe(expected.target);
        if (inode.type === 'file') expect(inode.size).toBe(expected.content!.length);
        expect(inode.xattrs.map(({ value }) => value.toString())).toEqual(
          expected.xattr ? [expected.xattr] : [],
        );
        if (inodes.has(expected.inode)) expect(inodes.get(expected.inode), at).toBe(inode);
        inodes.set(expected.inode, inode);
      }
      expect(new Set(inodes.values()).size).toBe(inodes.size);
    }),
    { seed: SEED, numRuns: 300 },
  );
}, 60_000);

it('random layers, converted, read back as the rules say', async () => {
  const options = fc.record({
    chunkSize: fc.constantFrom(4096, 1 << 20),
    batchSize: fc.constantFrom(0, 4096, 1 << 20),
    compressor: fc.constantFrom('zstd' as const, 'none' as const, 'lz4_block' as const),
    jobs: fc.constantFrom(1, 2),
  });
  await fc.assert(
    fc.asyncProperty(stack, options, async (layers, chosen) => {
      const { tars, tree } = build(layers);
      const { dir } = await convertLayout(makeLayout(tars), chosen);
      const { rows } = await readImage(dir);
      expect([...rows.keys()].sort()).toEqual(['/', ...tree.keys()].sort());
      const nids = new Map<number, number>();
      for (const [at, expected] of tree) {
        const row = rows.get(at)!;
        const links = [...tree.values()].filter(({ inode }) => inode === expected.inode).length;
        expect(row, at).toMatchObject({
          type: expected.type,
          uid: expected.uid,
          mtimeSec: expected.mtime,
          ...(expected.type !== 'dir' && { nlink: links }),
          ...(expected.type === 'file' && {
            sha256: sha256(expected.content!),
            size: expected.content!.length,
          }),
          ...(expected.type === 'symlink' && { target: expected.target }),
        });
        expect(nids.get(expected.inode) ?? row.nid, at).toBe(row.nid);
        nids.set(expected.inode, row.nid);
      }
    }),
    { seed: SEED, numRuns: 15 },
  );
}, 120_000);
