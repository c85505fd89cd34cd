import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { type Bootstrap, type DiskInode, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import type { Inode, TreeNode } from '../../src/rafs/tree.js';
import { walk } from '../../src/rafs/walk.js';
import { PROPERTY_TIMEOUT, propertyRuns } from '../support/property.js';
import { readChunk } from './golden.js';
import { type BuiltTree, buildTree, type TreePlan, treePlan } from './random-tree.js';

vi.setConfig({ testTimeout: PROPERTY_TIMEOUT });

function build(plan: TreePlan): { built: BuiltTree; bytes: Buffer } {
  const built = buildTree(plan);
  const { chunkSize, compressor, digester } = plan;
  return {
    built,
    bytes: buildBootstrap({ root: built.root, blobs: built.blobs, chunkSize, compressor, digester }),
  };
}

/** Content of a file, through chunk index, chunk infos and blob. Checked against digests and CRCs. */
function contentOf(
  bootstrap: Bootstrap,
  files: { data: Buffer; meta: BlobMeta }[],
  inode: DiskInode,
): Buffer {
  const parts = Array.from({ length: inode.chunkCount }, (_, k) => {
    const { blobIndex, chunkIndex, decodedOffset } = bootstrap.chunkAt(inode, k);
    const { data, meta } = files[blobIndex]!;
    if (meta.chunk(chunkIndex).decodedOffset !== decodedOffset)
      throw new Error(`chunk ${chunkIndex} is elsewhere`);
    const digest = bootstrap.chunkDigest(blobIndex, chunkIndex)!;
    return readChunk(data, bootstrap.blobs[blobIndex]!, meta, chunkIndex, digest);
  });
  return Buffer.concat(parts);
}

function expectInode(bootstrap: Bootstrap, disk: DiskInode, inode: Inode): void {
  const { type, mode, uid, gid, mtimeSec, mtimeNsec } = inode;
  expect(disk).toMatchObject({ type, mode, uid, gid, mtimeSec, mtimeNsec });
  const sorted = [...inode.xattrs].sort((a, b) => Buffer.compare(a.name, b.name));
  expect(bootstrap.xattrs(disk)).toEqual(sorted);
  if (inode.type === 'symlink') expect(bootstrap.readlink(disk)).toEqual(inode.target);
  expect(disk.rdev).toEqual('rdev' in inode ? inode.rdev : undefined);
}

test('what is built is read back: names, attributes, hard links, every byte of every file', () => {
  fc.assert(
    fc.property(treePlan, (plan) => {
      const { built, bytes } = build(plan);
      const bootstrap = parseBootstrap(bytes);
      expect(bootstrap.blobs.map(({ id }) => id)).toEqual(built.blobs.map(({ id }) => id));
      const files = built.blobs.map((ref, i) => {
        const { data, meta } = built.files.get(ref)!;
        return { data, meta: BlobMeta.parseFile(meta, bootstrap.blobs[i]!) };
      });
      const nids = new Map<Inode, number>();
      const links = new Map<Inode, number>();
      const visit = (node: TreeNode, disk: DiskInode, parent: DiskInode): void => {
        expectInode(bootstrap, disk, node.inode);
        expect(nids.get(node.inode) ?? disk.nid).toBe(disk.nid);
        nids.set(node.inode, disk.nid);
        links.set(node.inode, (links.get(node.inode) ?? 0) + 1);
        const content = built.contents.get(node.inode);
        if (content) expect(contentOf(bootstrap, files, disk).equals(content)).toBe(true);
        if (!node.children) return;
        const names = [...bootstrap.readdir(disk)].map(({ name }) => name.toString('latin1'));
        expect(names).toEqual([...node.children.keys(), '.', '..'].sort());
        expect(bootstrap.lookup(disk, Buffer.from('.'))).toBe(disk.nid);
        expect(bootstrap.lookup(disk, Buffer.from('..'))).toBe(parent.nid);
        expect(bootstrap.lookup(disk, Buffer.from('no such name'))).toBeUndefined();
        const subdirectories = [...node.children.values()].filter(({ inode }) => inode.type === 'dir').length;
        expect(disk.nlink).toBe(2 + subdirectories);
        for (const [name, child] of node.children) {
          visit(child, bootstrap.inode(bootstrap.lookup(disk, Buffer.from(name, 'latin1'))!), disk);
        }
      };
      const root = bootstrap.inode(bootstrap.rootNid);
      visit(built.root, root, root);
      for (const [inode, count] of links) {
        if (inode.type !== 'dir') expect(bootstrap.inode(nids.get(inode)!).nlink).toBe(count);
      }
      expect(new Set(nids.values()).size).toBe(nids.size);
      expect([...walk(bootstrap)].length).toBe(bootstrap.inodeCount);
    }),
    propertyRuns(40),
  );
});

test('blobs are what their entries say: id, sizes, table of contents, meta as stored and as file', () => {
  fc.assert(
    fc.property(treePlan, (plan) => {
      const { built, bytes } = build(plan);
      parseBootstrap(bytes).blobs.forEach((blob, i) => {
        const { data, meta } = built.files.get(built.blobs[i]!)!;
        expect(sha256(data).toString('hex')).toBe(blob.id);
        expect(data.length).toBe(blob.compressedSize);
        expect(sha256(data.subarray(-blob.tocSize))).toEqual(blob.tocDigest);
        const { offset, compressedSize } = blob.ci;
        const stored = BlobMeta.parseStored(data.subarray(offset, offset + compressedSize + 4096), blob);
        const file = BlobMeta.parseFile(meta, blob);
        expect(file.chunkCount).toBe(stored.chunkCount);
        for (let c = 0; c < file.chunkCount; c++) {
          const chunk = file.chunk(c);
          expect(stored.chunk(c)).toEqual(chunk);
          expect(file.chunkAtDecoded(chunk.decodedOffset)).toBe(c);
          expect(file.chunkAtDecoded(chunk.decodedOffset + chunk.size - 1)).toBe(c);
          const gap = chunk.size % 4096 === 0 ? c : c + 1;
          expect(file.chunkAtDecoded(chunk.decodedOffset + Math.ceil(chunk.size / 4096) * 4096 - 1)).toBe(
            gap,
          );
        }
        expect(file.chunkAtDecoded(blob.uncompressedSize)).toBe(file.chunkCount);
      });
    }),
    propertyRuns(40),
  );
});

test('the same tree gives the same bytes, whatever the order in which names were added', () => {
  fc.assert(
    fc.property(treePlan, (plan) => {
      const { bytes, built } = build(plan);
      expect(build(plan).bytes.equals(bytes)).toBe(true);
      const reverse = (node: TreeNode): void => {
        if (!node.children) return;
        const children = [...node.children].reverse();
        node.children = new Map(children);
        for (const [, child] of children) reverse(child);
      };
      reverse(built.root);
      const { chunkSize, compressor, digester } = plan;
      const again = buildBootstrap({ root: built.root, blobs: built.blobs, chunkSize, compressor, digester });
      expect(again.equals(bytes)).toBe(true);
    }),
    propertyRuns(20),
  );
});
