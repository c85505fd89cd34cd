import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { oddLayers } from '../support/odd-image.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree, type Tree, type TreeField } from '../support/tree.js';

// Asynchronous: the counting proxy of the registry lives in this process.
const run = promisify(execFile);

describe.skipIf(missingPrograms('docker-registry', 'umoci'))('a converted image exported', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;
  let layout: string;
  let source: Tree;

  beforeAll(async () => {
    rafter = createCommandLine();
    registry = await startRegistry();
    layout = join(rafter.dir, 'layout');
    await writeLayerImage(layout, 'source', oddLayers);
    await rafter.ok('copy', `oci:${layout}:source`, `${registry.host}/odd:source`);
    source = await unpack('source');
  });

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  async function unpack(tag: string): Promise<Tree> {
    const bundle = join(rafter.dir, `bundle-${tag}`);
    await run('umoci', ['unpack', '--image', `${layout}:${tag}`, bundle]);
    return readTree(join(bundle, 'rootfs'));
  }

  /** What no layer of the source says: umoci takes the time of unpacking for directories that have no entry. */
  const unsaid = (path: string, field: TreeField) =>
    field === 'mtime' && (path === '/' || path === '/usr-merge-target');

  it('unpacks to what the source unpacks to, attribute by attribute and byte by byte', async () => {
    await rafter.ok('convert', `${registry.host}/odd:source`, `${registry.host}/odd:nydus`);
    await rafter.ok('export', `${registry.host}/odd:nydus`, `oci:${layout}:exported`);
    const exported = await unpack('exported');
    expect(exported.size).toBeGreaterThan(700);
    expect(compareTrees(source, exported, unsaid)).toEqual([]);
  });

  it('goes into a registry, with a summary, and comes out the same', async () => {
    const target = `${registry.host}/odd:exported`;
    const { stdout } = await rafter.ok('export', '--json', `${registry.host}/odd:nydus`, target);
    const summary = JSON.parse(stdout);
    const local = await rafter.ok('export', '--json', `${registry.host}/odd:nydus`, `oci:${layout}:again`);
    expect(JSON.parse(local.stdout)).toEqual(summary);
    expect(summary.layer.entries).toBeGreaterThan(700);
    const { stdout: config } = await run('skopeo', [
      'inspect',
      '--config',
      '--tls-verify=false',
      `docker://${target}`,
    ]);
    expect(JSON.parse(config).rootfs.diff_ids).toEqual([summary.layer.diffId]);
  });

  it('from what nydusify made, too', async (ctx) => {
    const program = peerOrSkip(ctx, 'nydusify');
    const image = `${registry.host}/odd:nydusify`;
    await run(
      program,
      [
        ...['convert', '--source', `${registry.host}/odd:source`, '--target', image],
        ...['--source-insecure', '--target-insecure', '--work-dir', join(rafter.dir, 'nydusify')],
      ],
      { env: { ...process.env, PATH: `${process.env.RAFTER_PEERS}:${process.env.PATH}` } },
    );
    await rafter.ok('export', image, `oci:${layout}:theirs`);
    // The Nydus builder drops fractions of seconds and what upper layers say of /ov.
    const lost = (path: string, field: TreeField) =>
      field === 'mtime' || (path.startsWith('/ov') && ['mode', 'owner'].includes(field));
    expect(compareTrees(source, await unpack('theirs'), lost)).toEqual([]);
  });

  it('is refused for an ordinary image, and for a target that cannot be', async () => {
    const ordinary = await rafter.run('export', `${registry.host}/odd:source`, `oci:${layout}:never`);
    expect(ordinary).toMatchObject({ code: 6, stderr: expect.stringContaining('not a Nydus image') });
    const nowhere = await rafter.run('export', `${registry.host}/odd:nydus`, 'oci:');
    expect(nowhere.code).toBe(2);
  });
});
