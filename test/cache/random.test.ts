import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CacheStore } from '../../src/cache/store.js';
import { isRafterError, RafterError } from '../../src/errors.js';
import { damage, type SamplePart, SampleSource, sampleBlob } from './sample-blob.js';

const size = fc.oneof(
  fc.integer({ min: 1, max: 100 }),
  fc.integer({ min: 4090, max: 4100 }),
  fc.integer({ min: 1, max: 60_000 }),
);
const part: fc.Arbitrary<SamplePart> = fc.oneof(size, fc.array(size, { minLength: 1, maxLength: 6 }));

/** A read: where it starts and how long it is, in thousandths of the blob; and what happens to it. */
const request = fc.record({
  start: fc.integer({ min: 0, max: 999 }),
  length: fc.integer({ min: 0, max: 400 }),
  view: fc.integer({ min: 0, max: 1 }),
  cancelAfterMs: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 6 }),
  local: fc.boolean(),
});

const scenario = fc.record({
  parts: fc.array(part, { minLength: 1, maxLength: 12 }),
  gaps: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 12, maxLength: 12 }),
  compressor: fc.constantFrom('none', 'lz4_block', 'zstd'),
  withoutCrc: fc.boolean(),
  sessions: fc.array(fc.array(fc.array(request, { maxLength: 12 }), { minLength: 1, maxLength: 4 }), {
    minLength: 1,
    maxLength: 3,
  }),
  /** Every so many requests the source is in trouble; 0: never. */
  troubleEvery: fc.integer({ min: 0, max: 7 }),
});

it('any reads of any blob, in parallel, cancelled and failing, give the truth or an error', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async ({ parts, gaps, sessions, troubleEvery, ...options }) => {
      const blob = sampleBlob(parts, { ...options, gapBefore: (i) => gaps[i] ?? 0 });
      const dir = mkdtempSync(join(tmpdir(), 'rafter-random-'));
      const sources = [new SampleSource(blob.stored), new SampleSource(blob.stored)];
      for (const source of sources) {
        source.delayMs = 1;
        source.meddle = (bytes, number) => {
          if (troubleEvery === 0 || number % troubleEvery !== 0) return bytes;
          if (number % 3 === 0) throw new RafterError('UNAVAILABLE', 'trouble');
          return number % 3 === 1 ? damage(bytes) : bytes.subarray(1);
        };
      }
      try {
        for (const waves of sessions) {
          const store = await CacheStore.open(dir);
          try {
            const views = await Promise.all(sources.map((source) => store.acquire(blob.layout, source)));
            for (const wave of waves) {
              await Promise.all(
                wave.map(async ({ start, length, view, cancelAfterMs, local }) => {
                  const offset = Math.floor((blob.truth.length * start) / 1000);
                  const end = Math.min(
                    blob.truth.length,
                    offset + Math.ceil((blob.truth.length * length) / 1000),
                  );
                  const target = Buffer.alloc(end - offset, 0xee);
                  const expected = blob.truth.subarray(offset, end);
                  if (local && views[view]!.readLocal(offset, target)) {
                    expect(target.equals(expected)).toBe(true);
                    return;
                  }
                  const signal = cancelAfterMs === null ? undefined : AbortSignal.timeout(cancelAfterMs);
                  try {
                    await views[view]!.read(offset, target, signal);
                  } catch (error) {
                    const allowed = isRafterError(error, 'UNAVAILABLE', 'DIGEST_MISMATCH', 'INTERRUPTED');
                    if (!allowed || (troubleEvery === 0 && !signal)) throw error;
                    return;
                  }
                  expect(target.equals(expected)).toBe(true);
                }),
              );
            }
          } finally {
            await store.close();
          }
        }
      } finally {
        rmSync(dir, { recursive: true });
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);

it('without trouble every unit is fetched once, whatever is read', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { minLength: 1, maxLength: 10 }),
      fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 30 }),
      async (parts, starts) => {
        const blob = sampleBlob(parts);
        const dir = mkdtempSync(join(tmpdir(), 'rafter-once-'));
        const store = await CacheStore.open(dir);
        try {
          const source = new SampleSource(blob.stored);
          source.delayMs = 1;
          const cache = await store.acquire(blob.layout, source);
          await Promise.all(
            starts.map(async (start) => {
              const offset = Math.floor((blob.truth.length * start) / 1000);
              const target = Buffer.alloc(Math.min(20_000, blob.truth.length - offset));
              await cache.read(offset, target);
              expect(target.equals(blob.truth.subarray(offset, offset + target.length))).toBe(true);
            }),
          );
          const seen = new Uint8Array(blob.stored.length);
          for (const { offset, length } of source.requests) {
            for (let i = offset; i < offset + length; i++) seen[i]!++;
          }
          expect(seen.every((times) => times <= 1)).toBe(true);
          expect(cache.stats.fetchedBytes).toBe(seen.reduce((sum, n) => sum + n, 0));
        } finally {
          await store.close();
          rmSync(dir, { recursive: true });
        }
      },
    ),
    { numRuns: 40 },
  );
}, 60_000);
