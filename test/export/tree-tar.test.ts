import { expect, it } from 'vitest';
import { tarOfTree } from '../../src/export/tree-tar.js';
import { type Bootstrap, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import type { Inode, TreeNode } from '../../src/rafs/tree.js';

const common = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
const child = (name: string, inode: Inode): [string, TreeNode] => [name, { inode }];

/** A bootstrap whose root holds `children`. */
function imageOf(...children: [string, TreeNode][]): Bootstrap {
  const root: TreeNode = {
    inode: { ...common, type: 'dir', mode: 0o040755 },
    children: new Map(children),
  };
  const options = { chunkSize: 1 << 20, compressor: 'zstd', digester: 'blake3' } as const;
  return parseBootstrap(buildBootstrap({ root, blobs: [], ...options }));
}

async function tarOf(bootstrap: Bootstrap) {
  const warnings: string[] = [];
  const parts: Buffer[] = [];
  const content = {
    async *read(): AsyncGenerator<Buffer> {
      yield* [];
    },
  };
  for await (const part of tarOfTree(bootstrap, content, {
    name: 'image',
    onWarning: (message) => warnings.push(message),
  })) {
    parts.push(part);
  }
  return { tar: Buffer.concat(parts), warnings };
}

it('leaves out sockets and says so', async () => {
  const { tar, warnings } = await tarOf(
    imageOf(
      child('s', { ...common, type: 'socket', mode: 0o140600 }),
      child('p', { ...common, type: 'fifo', mode: 0o010600 }),
    ),
  );
  expect(warnings).toEqual([expect.stringContaining('image: "/s": a socket')]);
  expect(tar).toHaveLength(2 * 512 + 1024);
});

it('leaves out files that a layer would take for whiteouts, and refuses such directories', async () => {
  const file: Inode = { ...common, type: 'file', mode: 0o100644, size: 0, chunks: [] };
  const { tar, warnings } = await tarOf(imageOf(child('.wh.x', file), child('x.wh.', file)));
  expect(warnings).toEqual([expect.stringContaining('"/.wh.x"')]);
  expect(tar).toHaveLength(2 * 512 + 1024);
  const directory: Inode = { ...common, type: 'dir', mode: 0o040755 };
  const [name, node] = child('.wh.d', directory);
  await expect(tarOf(imageOf([name, { ...node, children: new Map() }]))).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('"/.wh.d"'),
  });
});
