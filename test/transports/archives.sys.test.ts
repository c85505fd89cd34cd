import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseReference } from '../../src/image/reference.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { writeIndexLayout } from '../support/layout-image.js';
import { oddLayers, umociLimits } from '../support/odd-image.js';
import { missingPrograms } from '../support/programs.js';
import { compareTrees, readTree } from '../support/tree.js';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;

/** Every blob of a layout as `name: digest of its bytes`. */
function blobsOf(layout: string): string[] {
  const folder = join(layout, 'blobs', 'sha256');
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  return readdirSync(folder)
    .sort()
    .map((name) => `${name}:${digest(name)}`);
}

describe('archives, judged by skopeo and umoci', () => {
  const missing = missingPrograms('skopeo', 'umoci');
  let rafter: CommandLine;
  const at = (name: string) => join(rafter.dir, name);

  beforeAll(async () => {
    rafter = createCommandLine();
    await writeIndexLayout(at('source'), 'both', 3_000_000);
    await writeLayerImage(at('odd'), 'x', oddLayers);
  });
  afterAll(async () => {
    expect(await rafter.remove()).toEqual([]);
  });
  beforeEach((context) => {
    if (missing !== undefined) context.skip(missing);
  });

  const copy = async (from: string, to: string) => {
    const source = openSource(parseReference(from));
    try {
      return await copyImage(source, openTarget(parseReference(to)));
    } finally {
      await source.close();
    }
  };
  const skopeo = (...args: string[]) => run('skopeo', ['copy', '--quiet', ...args]);
  const digestOf = async (image: string) =>
    JSON.parse((await run('skopeo', ['inspect', image])).stdout).Digest;

  it('an oci-archive of ours is read by skopeo, one of skopeo by us, whole index and all digests', async () => {
    await copy(`oci:${at('source')}:both`, `oci-archive:${at('ours.tar')}:both`);
    await skopeo(
      '--all',
      '--preserve-digests',
      `oci-archive:${at('ours.tar')}:both`,
      `oci:${at('theirs')}:both`,
    );
    expect(blobsOf(at('theirs'))).toEqual(blobsOf(at('source')));
    await skopeo(
      '--all',
      '--preserve-digests',
      `oci:${at('theirs')}:both`,
      `oci-archive:${at('theirs.tar')}:both`,
    );
    await copy(`oci-archive:${at('theirs.tar')}:both`, `oci:${at('back')}:both`);
    expect(blobsOf(at('back'))).toEqual(blobsOf(at('source')));
  });

  it('a docker-archive of ours is read by skopeo with the same configuration and layers', async () => {
    await copy(`oci:${at('odd')}:x`, `docker-archive:${at('d.tar')}:odd:1`);
    const listed = await run('skopeo', ['list-tags', `docker-archive:${at('d.tar')}`]);
    expect(JSON.parse(listed.stdout).Tags).toEqual(['docker.io/library/odd:1']);
    const read = async (image: string) => {
      const [config, manifest] = await Promise.all([
        run('skopeo', ['inspect', '--config', '--raw', image]),
        run('skopeo', ['inspect', '--raw', image]),
      ]);
      const { layers } = JSON.parse(manifest.stdout);
      return { config: config.stdout, layers: layers.map(({ digest }: { digest: string }) => digest) };
    };
    const theirs = await read(`docker-archive:${at('d.tar')}:odd:1`);
    const source = await read(`oci:${at('odd')}:x`);
    expect(theirs.config).toBe(source.config);
    expect(theirs.layers).toEqual(JSON.parse(source.config).rootfs.diff_ids);

    await skopeo(`docker-archive:${at('d.tar')}:odd:1`, `oci:${at('from-docker')}:x`);
    const unpack = (layout: string, bundle: string) =>
      run('umoci', ['unpack', ...(isRoot ? [] : ['--rootless']), '--image', `${at(layout)}:x`, at(bundle)]);
    await Promise.all([unpack('odd', 'one'), unpack('from-docker', 'other')]);
    const [one, other] = await Promise.all([readTree(at('one/rootfs')), readTree(at('other/rootfs'))]);
    expect(compareTrees(one, other, umociLimits)).toEqual([]);
  });

  it('a docker-archive of skopeo is read by us, and comes out the same through either tool', async () => {
    await skopeo(`oci:${at('odd')}:x`, `docker-archive:${at('s.tar')}:odd:1`);
    await copy(`docker-archive:${at('s.tar')}`, `docker-archive:${at('through.tar')}:odd:1`);
    expect(readFileSync(at('through.tar')).equals(readFileSync(at('d.tar')))).toBe(true);
    await copy(`docker-archive:${at('s.tar')}:odd:1`, `oci:${at('plain')}:x`);
    const { digest } = await copy(`docker-archive:${at('d.tar')}`, `oci:${at('again')}:x`);
    expect(await digestOf(`oci:${at('plain')}:x`)).toBe(digest);
  });

  it.skipIf(!isRoot)('commands take archives: convert, check, export, diff, mount', async () => {
    const image = `oci-archive:${at('n.tar')}:n`;
    await rafter.ok('convert', `docker-archive:${at('d.tar')}:odd:1`, image);
    await rafter.ok('check', image, '--source', `docker-archive:${at('d.tar')}`);
    await rafter.ok('export', image, `docker-archive:${at('e.tar')}:e:1`);
    await rafter.ok('diff', `docker-archive:${at('e.tar')}`, `oci:${at('odd')}:x`);
    mkdirSync(at('mnt'));
    await rafter.ok('mount', image, at('mnt'));
    const mounted = await readTree(at('mnt'));
    await rafter.ok('umount', at('mnt'));
    expect(compareTrees(await readTree(at('one/rootfs')), mounted, umociLimits)).toEqual([]);
  });

  it('an index goes into a docker-archive with --platform only', async () => {
    const target = `docker-archive:${at('p.tar')}:p:1`;
    const refused = await rafter.run('copy', `oci:${at('source')}:both`, target);
    expect(refused).toMatchObject({ code: 6, stdout: '' });
    expect(refused.stderr).toContain('--platform');
    await rafter.ok('copy', '--platform', 'linux/arm64', `oci:${at('source')}:both`, target);
    const image = `docker-archive:${at('p.tar')}`;
    const { stdout } = await run('skopeo', ['inspect', '--override-arch', 'arm64', image]);
    expect(JSON.parse(stdout)).toMatchObject({ Architecture: 'arm64' });
  });
});
