import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isRafterError } from '../../src/errors.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { goldenLayout } from '../mount/layouts.js';
import { plant } from './planted-image.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-damage-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** Numbers from 0 to 2^32 - 1, the same ones for the same seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

const ROUNDS = 20;
const platform = 'linux/amd64';
const original = () => goldenLayout('tiny-src');

it.each(['tiny-nydus', 'tiny-batch'])(
  'ends with faults, not with an exception, whatever stands in the bootstrap of %s',
  async (name) => {
    const next = random(4);
    let found = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const source = await plant(goldenLayout(name), join(dir, `${name}-${round}`), {
        bootstrap: (bytes) => {
          for (let i = 0; i < 1 + (round % 4); i++) {
            // Most of a small bootstrap is zeros; what is not is where the structures are.
            let at = next() % bytes.length;
            while (bytes[at] === 0) at = (at + 1) % bytes.length;
            bytes[at] = next() & 0xff;
          }
        },
      });
      try {
        const { faultCount, faults } = await checkImage(source, { platform, original: original() });
        if (faultCount > 0) found++;
        for (const { message } of faults) expect(message).not.toMatch(/undefined|NaN|\[object/);
      } catch (error) {
        // Flags may say that the image is of a kind that is not read.
        if (!isRafterError(error, 'UNSUPPORTED')) throw error;
        found++;
      }
    }
    // What is left are fields that no reader looks at, such as the inode numbers of the kernel's 32-bit stat.
    expect(found).toBeGreaterThan(ROUNDS * 0.7);
  },
);
