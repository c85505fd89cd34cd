import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { oddLayers } from '../support/odd-image.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden');

describe.skipIf(missingPrograms('docker-registry'))('reading an image without mounting it', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;
  let image: string;
  let size: number;

  beforeAll(async () => {
    rafter = createCommandLine();
    registry = await startRegistry();
    const layout = join(rafter.dir, 'layout');
    await writeLayerImage(layout, 'source', oddLayers);
    await rafter.ok('copy', `oci:${layout}:source`, `${registry.host}/odd:source`);
    image = `${registry.host}/odd:nydus`;
    const { stdout } = await rafter.ok('convert', '--json', `oci:${layout}:source`, image);
    size = JSON.parse(stdout).target.bytes;
  });

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  /** What the registry was asked for, in a few words each. */
  const kinds = () =>
    registry.requests
      .filter(({ method }) => method === 'GET')
      .map(({ path, range }) => (path.includes('/manifests/') ? 'manifest' : range ? 'range' : 'blob'));

  /** Runs a command with a new count of requests. */
  const counted = async (...args: string[]) => {
    registry.requests.length = 0;
    return rafter.ok(...args);
  };

  it('lists with manifest, configuration and bootstrap and no data', async () => {
    const { stdout } = await counted('ls', '-lR', image);
    expect(kinds()).toEqual(['manifest', 'blob', 'blob']);
    expect(registry.bytesSent()).toBeLessThan(size / 10);
    expect(stdout).toMatch(/^lrwxrwxrwx +1 0:0 .* links\/short -> target$/m);
    const lines = (await rafter.ok('ls', '--json', '-R', image)).stdout.trim().split('\n');
    expect(
      lines.map((line) => JSON.parse(line)).filter(({ type }) => type === 'char').length,
    ).toBeGreaterThan(0);
    expect((await rafter.ok('ls', image, 'links')).stdout).toContain('\nshort\n');
  });

  it('describes an image with manifest, configuration and bootstrap, an ordinary one without any layer', async () => {
    const nydus = await counted('inspect', image);
    expect(kinds()).toEqual(['manifest', 'blob', 'blob']);
    expect(registry.bytesSent()).toBeLessThan(size / 10);
    expect(nydus.stdout).toMatch(/^kind: +Nydus image/m);
    expect(nydus.stdout).toMatch(/^chunk size: +1048576$/m);
    const plain = await counted('inspect', '--json', `${registry.host}/odd:source`);
    expect(kinds()).toEqual(['manifest', 'blob']);
    expect(JSON.parse(plain.stdout)).toMatchObject({ kind: 'oci', config: { cmd: ['/bin/sh'] } });
    const raw = await counted('inspect', '--raw', image);
    expect(JSON.parse(raw.stdout).layers.length).toBe(4);
    expect(JSON.parse((await rafter.ok('inspect', '--config', image)).stdout).rootfs.diff_ids.length).toBe(4);
  });

  it('prints a file with the few bytes that it needs', async () => {
    const { stdout } = await counted('cat', image, '/links/short');
    expect(stdout).toBe((await rafter.ok('cat', image, '/links/target')).stdout);
    expect(stdout.length).toBeGreaterThan(0);
    await counted('cat', image, '/links/short');
    expect(kinds()).toEqual(['manifest', 'blob', 'blob', 'range']);
    expect(registry.bytesSent()).toBeLessThan(size / 10);
  });

  it('prints nothing and ends with 3 if one of the files is not there', async () => {
    expect(await rafter.run('cat', image, '/links/target', '/nonesuch')).toMatchObject({
      code: 3,
      stdout: '',
    });
    expect(await rafter.run('cat', image, '/links')).toMatchObject({ code: 1, stdout: '' });
    expect(await rafter.run('ls', image, '/nonesuch')).toMatchObject({ code: 3, stdout: '' });
  });

  it('ends quietly when nobody reads on', async () => {
    const child = rafter.start('ls', '-lR', image);
    let complaint = '';
    child.stderr!.on('data', (piece: Buffer) => (complaint += piece.toString()));
    child.stdout!.once('data', () => child.stdout!.destroy());
    const [code] = await once(child, 'close');
    expect([code, complaint]).toEqual([0, '']);
  });

  it('checks a good image by reading it once', async () => {
    const { stdout } = await counted('check', image);
    expect(stdout).toMatch(/: good \(/);
    expect(registry.bytesSent()).toBeLessThan(size * 1.2);
    const { faults, names } = JSON.parse((await rafter.ok('check', '--json', image)).stdout);
    expect(faults).toEqual([]);
    expect(names).toBeGreaterThan(700);
  });

  it('ends with 5 and a line per fault for a damaged image', async () => {
    const layout = join(rafter.dir, 'damaged');
    await rafter.ok('copy', image, `oci:${layout}:x`);
    const { layers } = JSON.parse((await rafter.ok('inspect', '--raw', `oci:${layout}:x`)).stdout);
    const file = join(layout, 'blobs/sha256', layers[0].digest.slice('sha256:'.length));
    const bytes = readFileSync(file);
    bytes[100]! ^= 1;
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(file, bytes);
    const { code, stdout } = await rafter.run('check', `oci:${layout}:x`);
    expect(code).toBe(5);
    expect(stdout).toMatch(/^blob: \/.*, blob [0-9a-f]{64}, chunk \d+, offset \d+: .* is damaged/m);
    expect(stdout.trim().split('\n').at(-1)).toMatch(/: \d+ faults \(/);
    expect(await rafter.run('check', `${registry.host}/odd:source`)).toMatchObject({ code: 6 });
    expect(await rafter.run('check', `${registry.host}/odd:nonesuch`)).toMatchObject({ code: 3 });
  });

  it('compares with the source: nothing lost in converting, everything lost with another source', async () => {
    const source = `${registry.host}/odd:source`;
    expect((await rafter.ok('check', '--source', source, image)).stdout).toMatch(/: good \(/);
    const tiny = `oci:${join(golden, 'oci/tiny-src')}`;
    const wrong = await rafter.run('check', '--source', tiny, image);
    expect(wrong.code).toBe(5);
    expect(wrong.stdout).toMatch(/^content: \/bin\/hello: it is in the source, but not in the image$/m);
  });

  it('shows differences with exit codes as diff(1)', async () => {
    const source = `${registry.host}/odd:source`;
    expect(await rafter.run('diff', source, image)).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const tiny = `oci:${join(golden, 'oci/tiny-src')}`;
    const found = await rafter.run('diff', image, tiny);
    expect(found).toMatchObject({ code: 1, stderr: '' });
    expect(found.stdout).toMatch(/^\+ \/bin\/hello$/m);
    expect(found.stdout).toMatch(/^- \/links\/target$/m);
    const { changes } = JSON.parse((await rafter.run('diff', '--json', image, tiny)).stdout);
    expect(changes).toContainEqual({ path: '/bin/hello', kind: 'added', differences: [] });
    expect(await rafter.run('diff', image, `${registry.host}/odd:nonesuch`)).toMatchObject({
      code: 3,
      stdout: '',
    });
  });

  it.for([
    ['defaults', []],
    ['batches', ['--batch-size', '0x10000']],
    ['small-chunks', ['--chunk-size', '0x10000']],
    ['lz4', ['--compressor', 'lz4_block']],
  ] as const)('finds no fault in what nydusify converts (%s)', async ([name, options], ctx) => {
    const program = peerOrSkip(ctx, 'nydusify');
    const target = `${registry.host}/odd:${name}`;
    const both = ['--source', `${registry.host}/odd:source`, '--target', target];
    const words = ['convert', ...both, '--source-insecure', '--target-insecure', ...options];
    const PATH = `${process.env.RAFTER_PEERS}:${process.env.PATH}`;
    await promisify(execFile)(program, [...words, '--work-dir', join(rafter.dir, 'nydusify')], {
      env: { ...process.env, PATH },
    });
    const { stdout } = await rafter.ok('check', '--json', target);
    expect(JSON.parse(stdout)).toMatchObject({ faultCount: 0, names: expect.any(Number) });
    // Converted by another program from the same layers: the same files, read from chunks of another size if need be. A
    // whiteout of the lowest layer, which hides nothing, it takes for a file.
    const { changes } = JSON.parse((await rafter.run('diff', '--json', image, target)).stdout);
    const other = changes.filter((change: { kind: string }) => change.kind !== 'changed');
    expect(other.map(({ path }: { path: string }) => path)).toEqual(['/ov/.wh.in-lowest']);
    const content = (change: { differences: { field: string }[] }) =>
      change.differences.some(({ field }) => field === 'content');
    expect(changes.filter(content)).toEqual([]);
  });
});
