import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import { buildTree, treePlan } from './random-tree.js';

const dir = mkdtempSync(join(tmpdir(), 'rafter-rafs-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Random images of our own, always the same ones. */
const files = fc.sample(treePlan, { numRuns: 12, seed: 99 }).map((plan, i) => {
  const { root, blobs } = buildTree(plan);
  const { chunkSize, compressor, digester } = plan;
  const prefetch = [Buffer.from('/')];
  const path = join(dir, `${i}.boot`);
  writeFileSync(path, buildBootstrap({ root, blobs, chunkSize, compressor, digester, prefetch }));
  return path;
});

describe('programs that are not ours accept bootstraps of ours', () => {
  test('fsck.erofs', (ctx) => {
    if (spawnSync('fsck.erofs', ['-V']).error) ctx.skip('fsck.erofs (erofs-utils) is not installed');
    for (const file of files) {
      const { status, stdout, stderr } = spawnSync('fsck.erofs', [file], { encoding: 'utf8' });
      expect(`${stdout}${stderr}`).toMatch(/No errors found/);
      expect(status).toBe(0);
    }
  });

  test('fsck.erofs notices damage, so that its word counts', (ctx) => {
    if (spawnSync('fsck.erofs', ['-V']).error) ctx.skip('fsck.erofs (erofs-utils) is not installed');
    const broken = join(dir, 'broken.boot');
    execFileSync('cp', [files[0]!, broken]);
    execFileSync('truncate', ['-s', '4096', broken]);
    expect(spawnSync('fsck.erofs', [broken]).status).not.toBe(0);
  });

  test('nydus-image check', (ctx) => {
    const program = join(process.env.RAFTER_PEERS ?? '', 'nydus-image');
    if (!process.env.RAFTER_PEERS || !existsSync(program))
      ctx.skip('RAFTER_PEERS names no folder with nydus-image');
    for (const file of files) {
      const { status, stdout, stderr } = spawnSync(program, ['check', '--bootstrap', file], {
        encoding: 'utf8',
      });
      expect(`${stdout}${stderr}`).toContain('RAFS filesystem metadata is valid');
      expect(status).toBe(0);
    }
  });
});
