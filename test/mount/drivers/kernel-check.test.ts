import { describe, expect, it, vi } from 'vitest';
import { RafterError } from '../../../src/errors.js';
import { checkForKernel } from '../../../src/mount/drivers/kernel-check.js';
import { type Bootstrap, parseBootstrap } from '../../../src/rafs/bootstrap.js';
import { BOOTSTRAPS, golden } from '../../rafs/golden.js';
import { fuzzRounds, fuzzSeeds } from '../../support/fuzz.js';
import { overwrite, placesOf, random } from '../../support/mutate.js';
import {
  CHUNK,
  find,
  type SampleImage,
  sample,
  withChunkAt,
  withDamageAmongMany,
  withManyNames,
  withSecondName,
  withSharedChunkIndexes,
  withSharedDirectories,
  withSize,
} from '../hostile-images.js';

// Much computing: seconds on an idle machine, more on a busy one.
vi.setConfig({ testTimeout: fuzzRounds(60_000) });

const check = ({ bootstrap }: Pick<SampleImage, 'bootstrap'>) =>
  checkForKernel(parseBootstrap(bootstrap, 'sample'));

/** What a quick look comes to that stops wherever it can. */
function inParts(bootstrap: Bootstrap): boolean {
  const look = bootstrap.beginLook!();
  for (;;) {
    const found = look(0);
    if (found !== undefined) return found;
  }
}

describe('what the kernel is given', () => {
  it.each(BOOTSTRAPS)('may be %s, which the field tools wrote', (path) => {
    const bootstrap = parseBootstrap(golden(path), path);
    expect(() => checkForKernel(bootstrap)).not.toThrow();
    expect(bootstrap.isSound?.() ?? bootstrap.version === 5).toBe(true);
    if (bootstrap.version === 6) expect(inParts(bootstrap)).toBe(true);
  });

  it('may be the sample of this test', () => {
    expect(() => check(sample())).not.toThrow();
  });

  it('is no chunk behind the end of its blob', () => {
    expect(() => check(withChunkAt(0, 6))).toThrow(/offset 24576 in a blob of 24576/);
  });

  it('is no file that is said to be one run and is not', () => {
    expect(() => check(withChunkAt(1, 3))).toThrow(/\/a: chunk 1 does not follow the one before/);
  });

  it('may be a file of chunks in any order, overlapping ones too: each is verified', () => {
    const image = withChunkAt(1, 0, { isOneRun: false });
    expect(find(parseBootstrap(image.bootstrap), 'a').oneRun).toBe(false);
    expect(() => check(image)).not.toThrow();
  });

  it('is no size that its chunk index does not hold', () => {
    expect(() => check(withSize(0x7fffffff))).toThrow(/inode \d+ (chunk format|i_size)/);
  });

  it.each([
    ['contains the one above it', ['d'], []],
    ['contains itself', ['e', 'f'], ['e']],
    ['has two names', ['e', 'f'], ['d']],
  ])('is no directory that %s', (_, from, to) => {
    expect(() => check(withSecondName(from, to))).toThrow(/has two names/);
  });

  it('is no small file that would cost much: directories or chunk indexes that lie over each other', () => {
    const directories = parseBootstrap(withSharedDirectories(500).bootstrap, 'sample');
    const tell = vi.spyOn(directories, 'inode');
    expect(() => checkForKernel(directories)).toThrow(/more names than \d+ bytes can hold/);
    expect(tell.mock.calls.length).toBeLessThan(directories.size / 12 + 10);
    const indexes = parseBootstrap(withSharedChunkIndexes(200).bootstrap, 'sample');
    // As if all of them were good addresses.
    vi.spyOn(indexes, 'chunkAt').mockImplementation(({ oneRun }, k) => ({
      blobIndex: 0,
      chunkIndex: 0,
      decodedOffset: oneRun ? k * CHUNK : 0,
    }));
    expect(() => checkForKernel(indexes)).toThrow(/inodes claim more than the \d+ bytes/);
  });

  it('is not RAFS v5', () => {
    expect(() => checkForKernel({ ...parseBootstrap(sample().bootstrap), version: 5 } as Bootstrap)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
  });

  it('may have 100,000 names in one directory, but none that leads nowhere', () => {
    const many = withManyNames(100_000);
    const bootstrap = parseBootstrap(many.bootstrap, 'many');
    expect([...bootstrap.readdir(find(bootstrap, 'many'))]).toHaveLength(100_002);
    expect(() => checkForKernel(bootstrap)).not.toThrow();
    expect(() => check(withDamageAmongMany(many))).toThrow(/sample: /);
  });
});

it.each<[string, () => Buffer]>([
  ['the sample', () => sample().bootstrap],
  ['v6/small.boot', () => golden('v6/small.boot')],
  ['v6/tiny-prefetch.boot', () => golden('v6/tiny-prefetch.boot')],
])('damage to %s is passed or refused with an error of ours; a quick look passes nothing else', (_, make) => {
  const bytes = make();
  const places = placesOf(bytes);
  let refused = 0;
  let quick = 0;
  for (const seed of fuzzSeeds(500)) {
    try {
      const bootstrap = parseBootstrap(overwrite(bytes, places, random(seed)), 'damaged');
      const looksSound = bootstrap.isSound?.() ?? false;
      expect(inParts(bootstrap), `seed ${seed}`).toBe(looksSound);
      if (looksSound) quick++;
      vi.spyOn(bootstrap, 'isSound').mockReturnValue(false);
      try {
        checkForKernel(bootstrap);
      } catch (error) {
        expect(looksSound, `seed ${seed}`).toBe(false);
        throw error;
      }
    } catch (error) {
      if (!(error instanceof RafterError))
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(fuzzRounds(500) / 20);
  expect(quick).toBeGreaterThan(fuzzRounds(500) / 20);
});
