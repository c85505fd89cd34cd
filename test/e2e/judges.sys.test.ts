import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { MS_RDONLY, mount, unmount } from '../../src/os/mount.js';
import { writeLayerImage } from '../support/layer-image.js';
import { decodeBlobs, type TakenApart, takeApart } from '../support/nydus-layout.js';
import { startNydusd } from '../support/nydusd.js';
import { oddLayers, umociLimits } from '../support/odd-image.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { compareTrees, readTree, type Tree, type TreeField } from '../support/tree.js';

describe('an image of three layers full of odd cases', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-judges-'));
  const layout = join(dir, 'layout');
  let image: TakenApart;
  let devices: string[];
  let unpacked: Tree;

  beforeAll(async () => {
    await writeLayerImage(layout, 'source', oddLayers);
    await convertImage({
      source: new LayoutSource({ transport: 'oci', path: layout, tag: 'source' }),
      target: new LayoutTarget({ transport: 'oci', path: layout, tag: 'nydus' }),
      sourceReference: `oci:${layout}:source`,
    });
    image = await takeApart(layout, 'nydus', dir);
    devices = decodeBlobs(image, dir);
    if (missingPrograms('umoci') === undefined) {
      execFileSync('umoci', ['unpack', '--image', `${layout}:source`, join(dir, 'bundle')], {
        stdio: 'pipe',
      });
      unpacked = await readTree(join(dir, 'bundle/rootfs'));
    }
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('mounts in the kernel and equals what umoci unpacks, attribute by attribute and byte by byte', async (ctx) => {
    const missing = missingPrograms('umoci');
    if (missing) return ctx.skip(missing);
    const target = join(dir, 'erofs');
    mkdirSync(target);
    const data = devices.map((device) => `device=${device}`).join(',');
    mount({ source: image.bootstrapFile, target, type: 'erofs', flags: MS_RDONLY, data });
    try {
      expect(compareTrees(unpacked, await readTree(target), umociLimits)).toEqual([]);
    } finally {
      unmount(target, { detach: true });
    }
  });

  it('is accepted by nydus-image check', (ctx) => {
    const peer = peerOrSkip(ctx, 'nydus-image');
    execFileSync(peer, ['check', '--bootstrap', image.bootstrapFile], { stdio: 'pipe' });
  });

  it('mounts in nydusd, validation on, and equals what umoci unpacks', async (ctx) => {
    const peer = peerOrSkip(ctx, 'nydusd');
    const missing = missingPrograms('umoci');
    if (missing) return ctx.skip(missing);
    const nydusd = await startNydusd(peer, image, join(dir, 'nydusd'));
    try {
      // nydusd shows the time of its start where the image has time 0.
      const except = (path: string, field: TreeField, expected: string) =>
        umociLimits(path, field, expected) || (field === 'mtime' && expected === '0');
      expect(compareTrees(unpacked, await readTree(nydusd.mountPoint), except)).toEqual([]);
    } finally {
      await nydusd.stop();
    }
  });

  it('contents fsck.erofs, every file read', (ctx) => {
    const missing = missingPrograms('fsck.erofs');
    if (missing) return ctx.skip(missing);
    const judge = (files: string[]) => {
      const options = ['-d5', '--extract', ...files.map((file) => `--device=${file}`)];
      const { status, stderr } = spawnSync('fsck.erofs', [...options, image.bootstrapFile], {
        encoding: 'utf8',
      });
      return `exit code ${status}: ${stderr}`;
    };
    expect(judge(devices)).toMatch(/^exit code 0: [\s\S]*No errors found/);
    // It is a judge only if it minds data that is not there.
    const empty = join(dir, 'empty');
    writeFileSync(empty, '');
    expect(judge(devices.map(() => empty))).toMatch(/^exit code 1: /);
  });
});
