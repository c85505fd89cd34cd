import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { KeptBlobs } from '../../src/convert/kept-blobs.js';
import { hexOf } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import type { ImageTarget } from '../../src/image/target.js';
import { storeBlob } from '../support/layout-image.js';

let root: string;
let dir: string;
const targets: LayoutTarget[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'rafter-kept-'));
  dir = join(root, 'kept');
});
afterEach(async () => {
  await Promise.all(targets.splice(0).map((target) => target.abort()));
  rmSync(root, { recursive: true, force: true });
});

function newTarget(name = 'layout'): LayoutTarget {
  const target = new LayoutTarget({ transport: 'oci', path: join(root, name), tag: 'x' });
  targets.push(target);
  return target;
}
const pathOf = ({ digest }: { digest: string }) => join(dir, hexOf(digest));
const kept = () => (existsSync(dir) ? readdirSync(dir).sort() : []);

/** A blob that a target had before it was given up. */
async function keepOne(bytes: Buffer, blobs = new KeptBlobs(dir)) {
  const target = newTarget();
  const blob = await storeBlob(target, 'a/b', bytes);
  await blobs.keep(target, blob);
  await target.abort();
  return blob;
}

it('keeps a blob beyond the abort of its target, and writes it to the next', async () => {
  const bytes = randomBytes(3_000_000);
  const blob = await keepOne(bytes);
  expect(readFileSync(pathOf(blob)).equals(bytes)).toBe(true);
  const blobs = new KeptBlobs(dir);
  const target = newTarget();
  expect(await blobs.restore(target, blob, undefined)).toBe(true);
  expect(readFileSync((await target.stagedFile(blob.digest))!).equals(bytes)).toBe(true);
  await blobs.release();
  expect(kept()).toEqual([]);
});

it('takes no space for a target on the same file system', async () => {
  const target = newTarget();
  const blob = await storeBlob(target, 'a/b', randomBytes(10));
  const blobs = new KeptBlobs(dir);
  await blobs.keep(target, blob);
  expect(statSync(pathOf(blob)).ino).toBe(statSync((await target.stagedFile(blob.digest))!).ino);
  // Another conversion has it already; it is not this one's link.
  const other = new KeptBlobs(dir);
  await other.keep(target, blob);
  await other.release({ linkedOnly: true });
  expect(kept()).toHaveLength(1);
  await blobs.release({ linkedOnly: true });
  expect(kept()).toEqual([]);
});

it('keeps nothing that the target keeps itself', async () => {
  const target = newTarget();
  const blob = await storeBlob(target, 'a/b', randomBytes(10));
  const registry = {
    name: 'a registry',
    createBlob: target.createBlob.bind(target),
  } as unknown as ImageTarget;
  await new KeptBlobs(dir).keep(registry, blob);
  expect(kept()).toEqual([]);
});

it.each<[string, (path: string) => void]>([
  ['is not there', (path) => rmSync(path)],
  ['is shorter', (path) => writeFileSync(path, 'short')],
  ['has other bytes', (path) => writeFileSync(path, randomBytes(1000))],
])('has no blob that %s, and leaves none at the target', async (_, damage) => {
  const blob = await keepOne(randomBytes(1000));
  damage(pathOf(blob));
  const target = newTarget();
  expect(await new KeptBlobs(dir).restore(target, blob, undefined)).toBe(false);
  expect(await target.hasBlob(blob)).toBe(false);
  expect(await target.stagedFile(blob.digest)).toBeUndefined();
});

it('takes a file that cannot be read for damaged', async () => {
  const bytes = randomBytes(4096);
  const blob = await keepOne(bytes);
  rmSync(pathOf(blob));
  mkdirSync(pathOf(blob));
  const { size } = statSync(pathOf(blob));
  expect(await new KeptBlobs(dir).restore(newTarget(), { ...blob, size }, undefined)).toBe(false);
});

it('says so when the target cannot take the blob, and still has it', async () => {
  const blob = await keepOne(randomBytes(1000));
  const stop = new AbortController();
  stop.abort();
  await expect(new KeptBlobs(dir).restore(newTarget(), blob, stop.signal)).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
  expect(kept()).toEqual([hexOf(blob.digest)]);
});

it('removes the oldest when there is too much, and what nobody came back for', async () => {
  const small = new KeptBlobs(dir, { maxSize: 2500 });
  const ages = { a: 4 * 24 * 3600, b: 2 * 24 * 3600, c: 60 };
  const names: string[] = [];
  for (const age of Object.values(ages)) {
    const blob = await keepOne(randomBytes(1000), small);
    names.push(hexOf(blob.digest));
    if (existsSync(pathOf(blob))) utimesSync(pathOf(blob), Date.now() / 1000 - age, Date.now() / 1000 - age);
  }
  expect(kept()).toEqual(names.slice(1).sort());
  await keepOne(randomBytes(2501), small);
  expect(kept()).toHaveLength(2);

  writeFileSync(join(dir, 'new-1'), '');
  writeFileSync(join(dir, 'new-2'), '');
  const longAgo = Date.now() / 1000 - 2 * 3600;
  utimesSync(join(dir, 'new-1'), longAgo, longAgo);
  const before = Date.now() / 1000 - 4 * 24 * 3600;
  utimesSync(join(dir, names[1]!), before, before);
  await small.sweep();
  expect(kept()).toEqual([names[2]!, 'new-2'].sort());
});

it('works without a directory that can be written', async () => {
  writeFileSync(dir, 'a file');
  const blob = await keepOne(randomBytes(10));
  const blobs = new KeptBlobs(dir);
  expect(await blobs.restore(newTarget(), blob, undefined)).toBe(false);
  await blobs.sweep();
  await blobs.release();
  expect(readFileSync(dir, 'utf8')).toBe('a file');
});
