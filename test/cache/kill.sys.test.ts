import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CacheStore } from '../../src/cache/store.js';
import { type SampleBlob, SampleSource, sampleBlob } from './sample-blob.js';

/** Worker processes run the compiled sources: Node does not read TypeScript. */
const storeModule = resolve(import.meta.dirname, '../../dist/cache/store.js');

/**
 * Opens the cache, says so, and reads random ranges for ever, each compared with the truth. Releases the blob now and then,
 * so that clean and dirty states of the map alternate.
 */
const reader = `
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
const [, dir, module] = process.argv;
const { CacheStore } = await import(module);
const { layout: fields, chunks, digests } = JSON.parse(readFileSync(dir + '/layout.json', 'utf8'));
const stored = readFileSync(dir + '/stored');
const truth = readFileSync(dir + '/truth');
const layout = {
  ...fields,
  chunk: (i) => ({ ...chunks[i] }),
  chunkDigest: (i) => Buffer.from(digests[i], 'hex'),
  chunkAtDecoded: (offset) => {
    const found = chunks.findIndex((chunk) => chunk.decodedOffset + chunk.size > offset);
    return found < 0 ? chunks.length : found;
  },
};
const bytes = { name: 'file', read: async (offset, length) => {
  await sleep(Math.random() * 3);
  return Buffer.copyBytesFrom(stored, offset, length);
} };
const store = await CacheStore.open(dir + '/cache');
process.stdout.write('open\\n');
for (;;) {
  const cache = await store.acquire(layout, bytes);
  await Promise.all(Array.from({ length: 12 }, async () => {
    const offset = Math.floor(Math.random() * truth.length);
    const target = Buffer.alloc(Math.min(truth.length - offset, Math.ceil(Math.random() * 100000)));
    await cache.read(offset, target);
    if (!target.equals(truth.subarray(offset, offset + target.length))) {
      process.stdout.write('WRONG ' + offset + '\\n');
      process.exit(3);
    }
  }));
  if (Math.random() < 0.3) await store.release(cache);
}
`;

let dir: string;
let blob: SampleBlob;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-kill-'));
  blob = sampleBlob(
    Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? [500, 9000, 40] : 20_000 + i * 1000)),
  );
  const { id, decodedSize, chunkCount, compressor, digester } = blob.layout;
  const text = JSON.stringify({
    layout: { id, decodedSize, chunkCount, compressor, digester },
    chunks: blob.chunks,
    digests: blob.digests.map((digest) => digest.toString('hex')),
  });
  writeFileSync(join(dir, 'layout.json'), text);
  writeFileSync(join(dir, 'stored'), blob.stored);
  writeFileSync(join(dir, 'truth'), blob.truth);
});

afterEach(() => rmSync(dir, { recursive: true }));

async function startReader(): Promise<{
  child: ChildProcess;
  output: () => string;
  ended: Promise<unknown>;
}> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', reader, dir, storeModule], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout!.on('data', (text) => {
    output += text;
  });
  child.stderr!.on('data', (text) => {
    output += text;
  });
  const ended = once(child, 'exit');
  await expect.poll(() => output, { timeout: 20_000 }).toContain('open\n');
  return { child, output: () => output, ended };
}

it('a process that is killed at any moment leaves nothing that is served wrong, and no lock', async () => {
  for (let round = 0; round < 12; round++) {
    const { child, output, ended } = await startReader();
    try {
      const busy = await CacheStore.open(join(dir, 'cache')).catch((e: unknown) => e);
      expect(busy).toMatchObject({ code: 'BUSY', message: expect.stringContaining(`process ${child.pid}`) });
      await sleep(Math.random() * (round % 3 === 0 ? 1500 : 100));
      expect(child.exitCode, output()).toBe(null);
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
    expect(output()).toBe('open\n');
    // Every second round finds what the one before left; the others write from the start.
    if (round % 2 === 0) continue;
    const store = await CacheStore.open(join(dir, 'cache'));
    try {
      const cache = await store.acquire(blob.layout, new SampleSource(blob.stored));
      const target = Buffer.alloc(blob.truth.length);
      await cache.read(0, target);
      expect(target.equals(blob.truth)).toBe(true);
    } finally {
      await store.close();
    }
    rmSync(join(dir, 'cache'), { recursive: true });
  }
});
