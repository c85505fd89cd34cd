import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/image/descriptor.js';
import { hostPlatform } from '../../src/image/platform.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeIndexLayout } from '../support/layout-image.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree, type TreeField } from '../support/tree.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden');
// Asynchronous: the counting proxy of the registry lives in this process.
const run = promisify(execFile);
const { architecture } = hostPlatform();

/** umoci gives the root, which no layer lists, the time of unpacking. */
const umociLimits = (path: string, field: TreeField) => path === '/' && field === 'mtime';

describe.skipIf(missingPrograms('docker-registry', 'skopeo', 'umoci'))('images for several platforms', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;
  let source: string;

  beforeAll(async () => {
    rafter = createCommandLine();
    registry = await startRegistry();
    source = `${registry.host}/app:source`;
    await writeIndexLayout(join(rafter.dir, 'layout'), 'source', 300_000);
    await rafter.ok('copy', `oci:${join(rafter.dir, 'layout')}:source`, source);
    await rafter.ok('copy', `oci:${join(golden, 'oci/tiny-src')}`, `${registry.host}/tiny:source`);
  });

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  const rawManifest = async (image: string) => {
    const { stdout } = await run('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${image}`]);
    return JSON.parse(stdout);
  };
  const convert = async (...args: string[]) =>
    JSON.parse((await rafter.ok('convert', '--json', ...args)).stdout);
  const pull = (image: string, layout: string, ...options: string[]) =>
    run('skopeo', ['copy', '--src-tls-verify=false', ...options, `docker://${image}`, `oci:${layout}:x`]);

  it('become one index, of which every platform mounts', async () => {
    const image = `${registry.host}/app:two`;
    const summary = await convert('--platform', 'linux/amd64', '--platform', 'linux/arm64', source, image);
    expect(summary.images).toHaveLength(2);
    const { manifests } = await rawManifest(image);
    expect(manifests.map(({ platform }: Descriptor) => platform?.architecture)).toEqual(['amd64', 'arm64']);
    const dir = join(rafter.dir, 'two');
    mkdirSync(dir);
    await rafter.ok('mount', image, dir);
    try {
      expect(await readFile(join(dir, 'own'), 'utf8')).toBe(`for ${architecture}`);
    } finally {
      await rafter.ok('umount', dir);
    }
  });

  it('beside the ordinary ones give those to clients without Nydus, and are found by us', async () => {
    const image = `${registry.host}/app:merged`;
    const before = await rawManifest(source);
    registry.requests.length = 0;
    await convert('--all-platforms', '--merge-index', source, image);
    const merged = await rawManifest(image);
    expect(merged.manifests.slice(0, 2)).toEqual(before.manifests);
    expect(await rawManifest(source)).toEqual(before);

    const all = join(rafter.dir, 'all');
    const { digest } = JSON.parse((await rafter.ok('copy', '--json', image, `oci:${all}:x`)).stdout);
    expect(JSON.parse(readFileSync(join(all, 'blobs/sha256', digest.slice(7)), 'utf8'))).toEqual(merged);

    const one = join(rafter.dir, 'one');
    await pull(image, one, '--preserve-digests');
    const [pulled] = JSON.parse(readFileSync(join(one, 'index.json'), 'utf8')).manifests;
    const ordinary = before.manifests.find(
      (entry: Descriptor) => entry.platform?.architecture === architecture,
    );
    expect(pulled.digest).toBe(ordinary.digest);

    await run('umoci', ['unpack', '--rootless', '--image', `${one}:x`, join(rafter.dir, 'bundle')]);
    const dir = join(rafter.dir, 'merged');
    mkdirSync(dir);
    await rafter.ok('mount', image, dir);
    try {
      const unpacked = await readTree(join(rafter.dir, 'bundle/rootfs'));
      expect(unpacked.size).toBeGreaterThan(2);
      expect(compareTrees(unpacked, await readTree(dir), umociLimits)).toEqual([]);
    } finally {
      await rafter.ok('umount', dir);
    }
  });

  it('beside the ordinary ones send nothing that the repository has', async () => {
    registry.requests.length = 0;
    await convert('--all-platforms', '--merge-index', source, `${registry.host}/app:again`);
    const uploads = registry.requests.filter(({ method }) => method === 'POST');
    expect(uploads).toEqual([]);
    registry.requests.length = 0;
    await convert('--merge-index', source, `${registry.host}/elsewhere:merged`);
    const { manifests } = await rawManifest(`${registry.host}/elsewhere:merged`);
    const sent = registry.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path);
    expect(sent.some((path) => path.endsWith(manifests[0].digest))).toBe(true);
  });

  it('as a referrer an image names its source', async () => {
    const image = `${registry.host}/app:referrer`;
    const { source: from } = await convert('--with-referrer', source, image);
    const { subject, artifactType } = await rawManifest(image);
    expect(subject).toEqual({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: from.digest,
      size: expect.any(Number),
    });
    expect(artifactType).toBeUndefined();
  });

  it('says what is wrong with what was asked for', async () => {
    const to = `oci:${join(rafter.dir, 'never')}`;
    const both = await rafter.run('convert', '--platform', 'linux/amd64', '--all-platforms', source, to);
    expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot be used with') });
    const none = await rafter.run('convert', '--platform', 'linux/s390x', source, to);
    expect(none).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('there is linux/amd64, linux/arm64'),
    });
  });

  it('nydusify finds the Nydus image in the merged index', async (ctx) => {
    const nydusify = peerOrSkip(ctx, 'nydusify');
    const image = `${registry.host}/tiny:merged`;
    await convert('--merge-index', `${registry.host}/tiny:source`, image);
    // nydusify cannot pass the option without which nydusd ends where the limit of open files cannot be raised.
    const wrapped = join(rafter.dir, 'nydusd');
    const script = `#!/bin/sh\nexec '${peerOrSkip(ctx, 'nydusd')}' "$@" --rlimit-nofile 0\n`;
    writeFileSync(wrapped, script, { mode: 0o755 });
    const { stdout, stderr } = await run(
      nydusify,
      [
        ...['check', '--multi-platform', '--source', `${registry.host}/tiny:source`, '--target', image],
        ...['--source-insecure', '--target-insecure', '--nydusd', wrapped],
        ...['--work-dir', join(rafter.dir, 'nydusify')],
      ],
      { env: { ...process.env, PATH: `${process.env.RAFTER_PEERS}:${process.env.PATH}` } },
    );
    expect(stdout + stderr).toMatch(/verified/i);
  });
});
