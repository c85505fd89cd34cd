import { expect, it } from 'vitest';
import { convertLayout, makeLayout } from './layouts.js';
import { tarEntry } from './tar-writer.js';

const MiB = 1 << 20;

it('memory does not grow with a layer: 400 MiB of files, half of it holes, pass through', async () => {
  const hole = tarEntry({
    name: 'sparse',
    data: 'x',
    pax: [
      ['GNU.sparse.size', String(200 * MiB)],
      ['GNU.sparse.numblocks', '1'],
      ['GNU.sparse.map', `${100 * MiB},1`],
    ],
  });
  const big = tarEntry({ name: 'big', data: Buffer.alloc(200 * MiB, 'compresses well. ') });
  const source = makeLayout([Buffer.concat([hole, big, Buffer.alloc(1024)])]);
  const before = process.memoryUsage().rss;
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 10);
  try {
    const { summary } = await convertLayout(source);
    expect(summary.layers[0]).toMatchObject({ entries: 2, tarBytes: 200 * MiB + 1024 + 512 * 5 });
    expect(summary.layers[0]!.dedupedChunks).toBeGreaterThan(190);
  } finally {
    clearInterval(timer);
  }
  // Neither file nor the decoded layer would fit in this; the test's own copy of the tar is counted before.
  expect(peak - before).toBeLessThan(150 * MiB);
});
