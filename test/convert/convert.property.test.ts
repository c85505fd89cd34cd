import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { collectLosses } from '../../src/convert/losses.js';
import { emptyTree, LayerOverlay } from '../../src/convert/overlay.js';
import { readTar } from '../../src/convert/tar-reader.js';
import type { TreeNode } from '../../src/rafs/tree.js';
import { PROPERTY_TIMEOUT, propertyRuns } from '../support/property.js';
import { convertLayout, makeLayout } from './layouts.js';
import { buildLayers, layerStack } from './random-layers.js';
import { inPieces } from './read-all.js';
import { readImage } from './read-image.js';

const sha256 = (text: string) => createHash('sha256').update(text, 'latin1').digest('hex');

it(
  'random layers give the tree that the rules say',
  async () => {
    await fc.assert(
      fc.asyncProperty(layerStack(), fc.integer({ min: 1, max: 3000 }), async (layers, pieceSize) => {
        const { tars, tree } = buildLayers(layers);
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
          const { mode, uid, gid, mtime, nsec } = expected;
          expect([inode.mode & 0o7777, inode.uid, inode.gid, inode.mtimeSec, inode.mtimeNsec], at).toEqual([
            inode.type === 'symlink' ? inode.mode & 0o7777 : mode,
            uid,
            gid,
            mtime,
            nsec,
          ]);
          if ('rdev' in inode) expect([inode.rdev.major, inode.rdev.minor]).toEqual(expected.rdev);
          if (inode.type === 'symlink') expect(inode.target.toString('latin1')).toBe(expected.target);
          if (inode.type === 'file') expect(inode.size).toBe(expected.content!.length);
          expect(inode.xattrs.map(({ name, value }) => [name.toString(), value])).toEqual(expected.xattrs);
          if (inodes.has(expected.inode)) expect(inodes.get(expected.inode), at).toBe(inode);
          inodes.set(expected.inode, inode);
        }
        expect(new Set(inodes.values()).size).toBe(inodes.size);
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);

it(
  'random layers, converted, read back as the rules say',
  async () => {
    const options = fc.record({
      chunkSize: fc.constantFrom(4096, 1 << 20),
      batchSize: fc.constantFrom(0, 4096, 1 << 20),
      compressor: fc.constantFrom('zstd' as const, 'none' as const, 'lz4_block' as const),
      jobs: fc.constantFrom(1, 2),
    });
    await fc.assert(
      fc.asyncProperty(layerStack(), options, async (layers, chosen) => {
        const { tars, tree } = buildLayers(layers);
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
            gid: expected.gid,
            mtimeSec: expected.mtime,
            mtimeNsec: expected.nsec,
            xattrs: Object.fromEntries(expected.xattrs.map(([name, value]) => [name, value.toString('hex')])),
            ...(expected.rdev && { rdev: expected.rdev }),
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
      propertyRuns(15),
    );
  },
  PROPERTY_TIMEOUT,
);
