import { resolve } from 'node:path';
import { expect, it } from 'vitest';

interface Request {
  blob?: string;
  isForPeer: boolean;
  size: number;
  offset: number;
  length: number;
  isWhole: boolean;
  after: number;
  gap: number;
}

const { pieceLength, simulate } = await import(resolve(import.meta.dirname, 'scale-model.mjs'));
const MiB = 1 << 20;
const rates = { registry: 1e9, seed: 1e8, node: 1e8 };
const manifest: Request = {
  isForPeer: false,
  size: 1000,
  offset: 0,
  length: 1000,
  isWhole: true,
  after: -1,
  gap: 0.1,
};
const whole = (size: number): Request => ({
  blob: 'pack',
  isForPeer: true,
  size,
  offset: 0,
  length: size,
  isWhole: true,
  after: 0,
  gap: 0,
});
const run = (requests: Request[], more: object = {}) =>
  simulate(requests, {
    nodes: 10,
    hasPeers: true,
    rates,
    rtt: 0.01,
    readyAfter: requests.length - 1,
    readyGap: 0.2,
    ...more,
  });

it.each([
  [1, 4],
  [500 * 4 * MiB, 4],
  [500 * 4 * MiB + 500, 8],
  [500 * 16 * MiB, 16],
  [1e12, 64],
])('has pieces of a blob of %d bytes in %d MiB', (size, mebibytes) => {
  expect(pieceLength(size)).toBe(mebibytes * MiB);
});

it('asks the registry for everything on every node without peers', () => {
  expect(run([manifest, whole(9 * MiB)], { hasPeers: false })).toMatchObject({
    requests: 20,
    bytes: 10 * (1000 + 9 * MiB),
    registrations: 0,
  });
});

it('has a large blob fetched once, by a seed peer, and each node ask for one byte of it', () => {
  const { requests, bytes, fromSeeds, fromPeers, registrations, kept } = run([manifest, whole(9 * MiB)]);
  expect(requests).toBe(10 + 10 + 3);
  expect(bytes).toBe(10 * 1000 + 10 + 9 * MiB);
  expect(fromSeeds + fromPeers).toBe(10 * 9 * MiB);
  expect(fromPeers).toBeGreaterThan(0);
  expect([registrations, kept]).toEqual([10, 9 * MiB]);
});

it('has nothing of it from the registry when the seed peers have it', () => {
  const { requests, bytes } = run([manifest, whole(9 * MiB)], { isPreheated: true });
  expect([requests, bytes]).toEqual([20, 10 * 1000 + 10]);
});

it('has small blobs, and pieces around ranges, fetched by every node, each once', () => {
  expect(run([manifest, whole(4 * MiB)]).bytes).toBe(10 * (1000 + 1 + 4 * MiB));
  const range = (offset: number): Request => ({
    ...whole(12 * MiB),
    isWhole: false,
    offset,
    length: 100,
  });
  const { requests, bytes, registrations } = run([manifest, range(10), range(5000), range(4 * MiB - 50)]);
  expect(requests).toBe(10 * (1 + 1 + 2));
  expect(bytes).toBe(10 * (1000 + 1 + 8 * MiB));
  expect(registrations).toBe(0);
});

it('takes as long as wires and round trips do, the same each time', () => {
  const one = run([manifest, whole(10 * MiB)], { hasPeers: false, nodes: 1 });
  expect(one.median).toBeCloseTo(0.1 + 2 * 0.01 + (1000 + 10 * MiB) / 1e8 + 0.2, 5);
  const many = run([manifest, whole(10 * MiB)], { hasPeers: false, nodes: 100 });
  expect(many.slowest).toBeGreaterThan((100 * 10 * MiB) / 1e9);
  expect(run([manifest, whole(10 * MiB)], { nodes: 100, spread: 3 })).toEqual(
    run([manifest, whole(10 * MiB)], { nodes: 100, spread: 3 }),
  );
});
