import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { makeSmallRootfs } from '../run/small-rootfs.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';
import type { Comparison } from './comparison.mjs';

const missing = process.geteuid?.() === 0 ? missingPrograms('docker-registry', 'runc', 'tar') : 'needs root';

it.skipIf(missing)(
  'the bench of a warm run measures it next to runc with the same bundle',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'rafter-warm-run-'));
    try {
      const root = join(dir, 'root');
      mkdirSync(root);
      makeSmallRootfs(root);
      const tar = join(dir, 'layer.tar.gz');
      execFileSync('tar', ['-C', root, '-czf', tar, '.']);
      await writeLayerImage(join(dir, 'images'), 'small', [tar]);
      const bench = resolve(import.meta.dirname, 'warm-run.mjs');
      const args = [bench, '--json', '--runs', '1', '--program', '/bin/ls', `${dir}/images:small`];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      const { rows } = JSON.parse(stdout) as Comparison;
      expect(rows.map(({ name }) => name)).toEqual(['runc alone', 'rafter run', 'Node.js alone']);
      for (const { figures } of rows) expect(figures.seconds).toBeGreaterThan(0);
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
  60_000,
);
