import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import { writeDecodedBlob } from '../support/decoded-blob.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { buildTree, treePlan } from './random-tree.js';

const FSCK = 'fsck.erofs';

const dir = mkdtempSync(join(tmpdir(), 'rafter-rafs-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Random images of our own, always the same ones, and the decoded blobs that are their devices. */
const images = fc.sample(treePlan, { numRuns: 12, seed: 99 }).map((plan, i) => {
  const built = buildTree(plan);
  const { root, blobs } = built;
  const { chunkSize, compressor, digester } = plan;
  const bytes = buildBootstrap({
    root,
    blobs,
    chunkSize,
    compressor,
    digester,
    prefetch: [Buffer.from('/')],
  });
  const file = join(dir, `${i}.boot`);
  writeFileSync(file, bytes);
  const bootstrap = parseBootstrap(bytes, file);
  const devices = bootstrap.blobs.map((blob, b) => {
    const [stored, decoded] = [join(dir, `${i}.${b}.blob`), join(dir, `${i}.${b}.data`)];
    writeFileSync(stored, built.files.get(blobs[b]!)!.data);
    writeDecodedBlob(bootstrap, blob, { blob: stored, out: decoded });
    return decoded;
  });
  return { file, devices };
});

function deviceArgs(devices: string[]): string[] {
  return devices.map((device) => `--device=${device}`);
}

describe('programs that are not ours accept bootstraps of ours', () => {
  test('fsck.erofs', (ctx) => {
    const missing = missingPrograms(FSCK);
    if (missing) ctx.skip(missing);
    for (const { file, devices } of images) {
      const args = [...deviceArgs(devices), '--extract', file];
      const { status, stdout, stderr } = spawnSync(FSCK, args, { encoding: 'utf8' });
      expect({ file, status, output: `${stdout}${stderr}` }).toEqual({ file, status: 0, output: '' });
    }
  });

  test('fsck.erofs notices damage, so that its word counts', (ctx) => {
    const missing = missingPrograms(FSCK);
    if (missing) ctx.skip(missing);
    const broken = join(dir, 'broken.boot');
    const { file, devices } = images[0]!;
    copyFileSync(file, broken);
    truncateSync(broken, 8192);
    expect(spawnSync(FSCK, [...deviceArgs(devices), '--extract', broken]).status).not.toBe(0);
  });

  test('nydus-image check', (ctx) => {
    const program = peerOrSkip(ctx, 'nydus-image');
    for (const { file } of images) {
      const { status, stdout, stderr } = spawnSync(program, ['check', '--bootstrap', file], {
        encoding: 'utf8',
      });
      expect(`${stdout}${stderr}`).toContain('RAFS filesystem metadata is valid');
      expect(status).toBe(0);
    }
  });
});
