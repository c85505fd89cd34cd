import { expect, it } from 'vitest';
import type { DeviceServer } from '../../../src/fuse/device-server.js';
import { checkForKernel } from '../../../src/mount/drivers/kernel-check.js';
import { createTreeLooks } from '../../../src/mount/drivers/tree-look.js';
import { lookInParts, type TreeWork } from '../../../src/mount/drivers/tree-work.js';
import { parseBootstrap } from '../../../src/rafs/bootstrap.js';
import { golden } from '../../rafs/golden.js';

function treeOf(path: string) {
  const content = golden(path);
  const bytes = new SharedArrayBuffer(content.length);
  content.copy(Buffer.from(bytes));
  return { bootstrap: parseBootstrap(Buffer.from(bytes), path), bytes };
}

/** As the thread does it, in this one. */
function fakeServer(answer?: unknown): { server: () => DeviceServer; works: TreeWork[] } {
  const works: TreeWork[] = [];
  const work = async (one: unknown) => {
    works.push(one as TreeWork);
    if (answer !== undefined) return answer;
    const step = lookInParts(one as TreeWork);
    for (;;) {
      const found = step();
      if (found !== undefined) return found;
    }
  };
  return { server: () => ({ work }) as unknown as DeviceServer, works };
}

it('looks once at a tree that nobody has checked, and says what it came to', async () => {
  const tree = treeOf('v6/small.boot');
  const { server, works } = fakeServer();
  const looks = createTreeLooks(server);
  expect(await looks.of(tree.bootstrap)).toBe(undefined);
  looks.begin(tree);
  looks.begin(tree);
  expect(await looks.of(tree.bootstrap)).toBe(true);
  expect(works).toHaveLength(1);
  checkForKernel(tree.bootstrap, true);
  createTreeLooks(server).begin(tree);
  expect(works).toHaveLength(1);
});

it('says nothing where the thread came to nothing', async () => {
  const tree = treeOf('v6/small.boot');
  const looks = createTreeLooks(fakeServer(null).server);
  looks.begin(tree);
  expect(await looks.of(tree.bootstrap)).toBe(undefined);
});
