import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hexOf } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { parseReference } from '../../src/image/reference.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { storeImage } from '../support/layout-image.js';

vi.setConfig({ testTimeout: 60_000 });

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-copy-blob-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);

/** Writes an image with one layer of more than `size` bytes; the file of that layer. */
async function writeImage(size: number): Promise<string> {
  const target = new LayoutTarget({ transport: 'oci', path: at('source'), tag: 'x' });
  const { digest } = await storeImage(target, { file: randomBytes(size) }, { tag: true });
  await target.commit();
  const path = at(`source/blobs/sha256/${hexOf(digest)}`);
  return at(`source/blobs/sha256/${hexOf(JSON.parse(readFileSync(path, 'utf8')).layers[0].digest)}`);
}

async function copy() {
  const source = openSource(parseReference(`oci:${at('source')}:x`));
  try {
    return await copyImage(source, openTarget(parseReference(`oci:${at('target')}:x`)));
  } finally {
    await source.close();
  }
}

describe.each([
  ['hashed where it is read', 50_000],
  ['hashed in a thread', 2_500_000],
])('a blob that is %s', (_, size) => {
  it('arrives as it was', async () => {
    const file = await writeImage(size);
    expect((await copy()).copiedBytes).toBeGreaterThan(size);
    expect(readFileSync(file.replace('source', 'target')).equals(readFileSync(file))).toBe(true);
  });

  it.each<[name: string, code: string, change: (bytes: Buffer) => Buffer]>([
    ['another first byte', 'DIGEST_MISMATCH', (b) => Buffer.concat([Buffer.of(b[0]! ^ 1), b.subarray(1)])],
    [
      'another last byte',
      'DIGEST_MISMATCH',
      (b) => Buffer.concat([b.subarray(0, -1), Buffer.of(b.at(-1)! ^ 1)]),
    ],
    ['one byte too many', 'DIGEST_MISMATCH', (b) => Buffer.concat([b, Buffer.of(0)])],
    ['one byte too few', 'TRUNCATED', (b) => b.subarray(0, -1)],
  ])('with %s leaves nothing', async (_, code, change) => {
    const file = await writeImage(size);
    writeFileSync(file, change(readFileSync(file)));
    await expect(copy()).rejects.toMatchObject({ code, message: expect.stringContaining('source') });
    expect(existsSync(at('target'))).toBe(false);
    expect(readdirSync(directory)).toEqual(['source']);
  });
});
