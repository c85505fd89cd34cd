import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compress } from '../../src/codec/compressor.js';
import { ociDigest } from '../../src/codec/digest.js';
import { convertImage } from '../../src/convert/convert.js';
import { hexOf } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import type { Manifest } from '../../src/image/manifest.js';
import { parseReference } from '../../src/image/reference.js';
import type { ImageSource } from '../../src/image/source.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { makeTar, type TarItem } from '../convert/tar-writer.js';
import { storeImage, writeIndexLayout } from '../support/layout-image.js';

// Everything is put on disk with fsync, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let directory: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-archives-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);
/** `oci-archive:x.tar:tag` with the file in this test's directory. */
const place = (text: string) => text.replace(':', `:${directory}/`);
const open = (text: string) => openSource(parseReference(place(text)), { tempDir: directory });

async function using<T>(text: string, work: (source: ImageSource) => Promise<T>): Promise<T> {
  const source = open(text);
  try {
    return await work(source);
  } finally {
    await source.close();
  }
}

const copy = (from: string, to: string, options = {}) =>
  using(from, (source) => copyImage(source, openTarget(parseReference(place(to))), options));

const manifestOf = (text: string) =>
  using(text, async (source) => {
    const bytes = await source.readManifest(await source.resolve());
    return JSON.parse(bytes.toString()) as Manifest;
  });

/** Writes the layout `plain` with one image of two layers, the second of them twice. */
async function writePlain(): Promise<void> {
  const target = new LayoutTarget({ transport: 'oci', path: at('plain'), tag: 'x' });
  const files = { a: Buffer.alloc(70_000, 'a'), b: Buffer.from('b') };
  await storeImage(target, files, { tag: true });
  await target.commit();
}

const item = (name: string, data: Buffer | string): TarItem => ({ name, data });

/** Parts of a docker archive: layers by name, each with one file. */
function dockerParts(names: string[], tag: string[] | null = ['x:1']) {
  const layers = names.map((name) => makeTar([item(name, `content of ${name}`)]));
  const diff_ids = layers.map((layer) => ociDigest(layer));
  const config = Buffer.from(
    JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids } }),
  );
  const configName = `${hexOf(ociDigest(config))}.json`;
  const entry = { Config: configName, RepoTags: tag, Layers: names.map((name) => `${name}/layer.tar`) };
  return { layers, config, configName, entry };
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

function writeDocker(file: string, { stored = (layer: Buffer) => layer, names = ['a', 'b'] } = {}) {
  const { layers, config, configName, entry } = dockerParts(names);
  const items = [
    ...layers.map((layer, i) => item(`${names[i]}/layer.tar`, stored(layer))),
    item(configName, config),
    item('manifest.json', json([entry])),
  ];
  writeFileSync(at(file), makeTar(items));
}

describe('oci-archive', () => {
  it('holds an index with everything below it, and gives it back byte for byte', async () => {
    await writeIndexLayout(at('source'), 'both', 50_000);
    const written = await copy('oci:source:both', 'oci-archive:a.tar:v1');
    expect(written).toMatchObject({ manifests: 3, copiedBlobs: 5 });
    const back = await copy('oci-archive:a.tar:v1', 'oci:back:both');
    expect(back.digest).toBe(written.digest);
    const blobs = (layout: string) =>
      readdirSync(at(`${layout}/blobs/sha256`)).map((name) =>
        hexOf(ociDigest(readFileSync(at(`${layout}/blobs/sha256/${name}`)))),
      );
    expect(blobs('back')).toEqual(blobs('source'));
    expect(readdirSync(directory).sort()).toEqual(['a.tar', 'back', 'source']);
  });

  it('is the same bytes every time, whatever the order in which blobs come', async () => {
    await writeIndexLayout(at('source'), 'both', 50_000);
    await copy('oci:source:both', 'oci-archive:a.tar:v1', { jobs: 1 });
    await copy('oci:source:both', 'oci-archive:b.tar:v1', { jobs: 4 });
    expect(readFileSync(at('a.tar')).equals(readFileSync(at('b.tar')))).toBe(true);
  });

  it('reads the only image without a tag, and tells several apart by tag and by digest', async () => {
    await writeIndexLayout(at('source'), 'one', 10);
    await writePlain();
    await copy('oci:plain:x', 'oci:source:two');
    execFileSync('tar', ['-C', at('source'), '-cf', at('both.tar'), '.']);
    await expect(using('oci-archive:both.tar', (source) => source.resolve())).rejects.toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('one, two'),
    });
    const two = await using('oci-archive:both.tar:two', (source) => source.resolve());
    const named = await using(`oci-archive:both.tar@${two.digest}`, (source) => source.resolve());
    expect(named.digest).toBe(two.digest);
    await copy('oci-archive:both.tar:two', 'oci-archive:single.tar');
    expect((await using('oci-archive:single.tar', (source) => source.resolve())).digest).toBe(two.digest);
    await expect(using('oci-archive:both.tar:three', (source) => source.resolve())).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('finds an image by the name that containerd gives it', async () => {
    await writePlain();
    const index = JSON.parse(readFileSync(at('plain/index.json'), 'utf8'));
    index.manifests[0].annotations = {
      'io.containerd.image.name': 'docker.io/library/x:1',
      'org.opencontainers.image.ref.name': '1',
    };
    writeFileSync(at('plain/index.json'), JSON.stringify(index));
    execFileSync('tar', ['-C', at('plain'), '-cf', at('x.tar'), 'blobs', 'index.json', 'oci-layout']);
    for (const tag of ['1', 'docker.io/library/x:1']) {
      await using(`oci-archive:x.tar:${tag}`, async (source) =>
        expect(await source.resolve()).toMatchObject({ digest: index.manifests[0].digest }),
      );
    }
  });

  it('reads ranges of a blob, also of a compressed archive, and leaves no file behind', async () => {
    await writePlain();
    await copy('oci:plain:x', 'oci-archive:a.tar');
    writeFileSync(at('a.tar.gz'), gzipSync(readFileSync(at('a.tar'))));
    writeFileSync(at('a.tar.zst'), compress('zstd', readFileSync(at('a.tar'))));
    const layer = (await manifestOf('oci:plain:x')).layers[0]!;
    const expected = readFileSync(at(`plain/blobs/sha256/${hexOf(layer.digest)}`));
    const before = readdirSync(directory);
    for (const file of ['a.tar', 'a.tar.gz', 'a.tar.zst']) {
      await using(`oci-archive:${file}`, async (source) => {
        expect(await source.readBlobRange(layer, 10, 50)).toEqual(expected.subarray(10, 60));
        expect(await buffer(await source.openBlob(layer))).toEqual(expected);
        await expect(source.readBlobRange(layer, layer.size - 5, 6)).rejects.toMatchObject({
          code: 'TRUNCATED',
        });
        expect(readdirSync(directory)).toEqual(before);
      });
    }
  });

  it('comes through a pipe', async () => {
    await writePlain();
    await copy('oci:plain:x', 'oci-archive:a.tar');
    execFileSync('mkfifo', [at('pipe')]);
    const writing = import('node:fs/promises').then(({ writeFile }) =>
      writeFile(at('pipe'), readFileSync(at('a.tar'))),
    );
    expect((await manifestOf('oci-archive:pipe')).layers).toHaveLength(2);
    await writing;
  });

  it.each([
    ['missing.tar', 'NOT_FOUND', undefined],
    ['.', 'USAGE', 'oci:DIR'],
    ['docker.tar', 'NOT_FOUND', 'docker-archive:FILE'],
    ['x.tar.xz', 'UNSUPPORTED', 'xz -d'],
    ['x.tar.bz2', 'UNSUPPORTED', 'bzip2 -d'],
    ['text', 'TRUNCATED', undefined],
    ['page', 'MALFORMED', undefined],
    ['plain', 'USAGE', 'oci:DIR'],
  ])('says what is wrong with %s', async (file, code, hint) => {
    mkdirSync(at('plain'));
    writeDocker('docker.tar');
    writeFileSync(at('x.tar.xz'), Buffer.from('fd377a585a000004', 'hex'));
    writeFileSync(at('x.tar.bz2'), 'BZh91AY');
    writeFileSync(at('text'), 'no tar');
    writeFileSync(at('page'), 'no tar'.repeat(500));
    const error = await manifestOf(`oci-archive:${file}`).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code, message: expect.stringContaining(at(file)) });
    if (hint !== undefined) expect(error).toMatchObject({ hint: expect.stringContaining(hint) });
  });

  it('says what is damaged', async () => {
    await writePlain();
    await copy('oci:plain:x', 'oci-archive:a.tar');
    const bytes = readFileSync(at('a.tar'));
    const layer = (await manifestOf('oci:plain:x')).layers[0]!;
    const start = bytes.indexOf(`blobs/sha256/${hexOf(layer.digest)}`) + 512;
    bytes[start + 20]! ^= 1;
    writeFileSync(at('a.tar'), bytes);
    await expect(copy('oci-archive:a.tar', 'oci:never')).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    truncateSync(at('a.tar'), start + 20);
    await expect(copy('oci-archive:a.tar', 'oci:never')).rejects.toMatchObject({ code: 'TRUNCATED' });
    expect(readdirSync(directory)).toEqual(['a.tar', 'plain']);
  });
});

describe('docker-archive', () => {
  it('is written with its layers unpacked, and read back with the same configuration and tars', async () => {
    await writePlain();
    await copy('oci:plain:x', 'docker-archive:d.tar:x:1');
    const [source, archive] = [await manifestOf('oci:plain:x'), await manifestOf('docker-archive:d.tar')];
    expect(archive.config.digest).toBe(source.config.digest);
    expect(archive.layers.map(({ digest }) => digest)).toEqual(
      source.layers.map(({ digest }) =>
        ociDigest(gunzipSync(readFileSync(at(`plain/blobs/sha256/${hexOf(digest)}`)))),
      ),
    );
    expect(archive.layers.map(({ mediaType }) => mediaType)).toEqual(
      source.layers.map(() => 'application/vnd.oci.image.layer.v1.tar'),
    );
    const listed = execFileSync('tar', ['-tvf', at('d.tar')], { encoding: 'utf8' });
    expect(listed).toMatch(/^(-rw-r--r-- 0\/0 +\d+ 1970-01-01 .*\n){4}$/);

    await copy('docker-archive:d.tar:docker.io/library/x:1', 'oci:back:x');
    await copy('oci:back:x', 'docker-archive:again.tar:x:1');
    expect(readFileSync(at('again.tar')).equals(readFileSync(at('d.tar')))).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(['again.tar', 'back', 'd.tar', 'plain']);
  });

  it('reads layers that are symlinks, hard links, repeated or compressed, under whatever names', async () => {
    const { layers, config, entry } = dockerParts(['a', 'b', 'c']);
    const gzipped = gzipSync(layers[2]!);
    const items: TarItem[] = [
      { name: './layers/', type: '5' },
      item('./layers/one.tar', layers[0]!),
      { name: 'a/layer.tar', type: '2', link: '../layers/one.tar' },
      { name: 'again/layer.tar', type: '1', link: 'a/layer.tar' },
      item(`${'d'.repeat(120)}/layer.tar`, layers[1]!),
      item('b/layer.tar', 'of an earlier run'),
      { name: 'b/layer.tar', type: '2', link: `../${'d'.repeat(120)}/layer.tar` },
      item('c/layer.tar', gzipped),
      item('config.json', config),
      item('/manifest.json', json([{ ...entry, Config: 'config.json' }])),
    ];
    writeFileSync(at('d.tar'), makeTar(items));
    const manifest = await manifestOf('docker-archive:d.tar:x:1');
    expect(manifest.layers).toEqual([
      { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: ociDigest(layers[0]!), size: 2048 },
      { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: ociDigest(layers[1]!), size: 2048 },
      {
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        digest: ociDigest(gzipped),
        size: gzipped.length,
      },
    ]);
    expect((await copy('docker-archive:d.tar', 'oci:out:x')).copiedBlobs).toBe(4);
  });

  it('takes the image that is named, by name or by place', async () => {
    const parts = [dockerParts(['a']), dockerParts(['b'], ['h.io/b:2', 'b:3']), dockerParts(['c'], null)];
    writeFileSync(
      at('d.tar'),
      makeTar([
        ...parts.flatMap(({ layers, config, configName, entry }) => [
          item(configName, config),
          item(entry.Layers[0]!, layers[0]!),
        ]),
        item('manifest.json', json(parts.map(({ entry }) => entry))),
      ]),
    );
    const configs = parts.map(({ config }) => ociDigest(config));
    for (const [tag, place] of [
      [':x:1', 0],
      [':docker.io/library/x:1', 0],
      [':h.io/b:2', 1],
      [':b:3', 1],
      [':@2', 2],
    ] as const) {
      expect((await manifestOf(`docker-archive:d.tar${tag}`)).config.digest, tag).toBe(configs[place]);
    }
    await expect(manifestOf('docker-archive:d.tar')).rejects.toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('x:1, h.io/b:2, @2'),
    });
    for (const tag of [':x:2', ':@3']) {
      await expect(manifestOf(`docker-archive:d.tar${tag}`)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
  });

  it('reads the archives of current Docker, which are OCI layouts too, either way', async () => {
    await writePlain();
    const { config, layers } = await manifestOf('oci:plain:x');
    const path = ({ digest }: { digest: string }) => `blobs/sha256/${hexOf(digest)}`;
    const entry = { Config: path(config), RepoTags: ['x:1'], Layers: layers.map(path) };
    writeFileSync(at('plain/manifest.json'), json([entry]));
    execFileSync('tar', ['-C', at('plain'), '-cf', at('d.tar'), ...readdirSync(at('plain'))]);
    expect((await manifestOf('docker-archive:d.tar:x:1')).layers).toEqual(layers);
    expect((await manifestOf('oci-archive:d.tar:x')).layers).toEqual(layers);
  });

  it('says what is damaged', async () => {
    writeDocker('wrong.tar', { stored: (layer) => Buffer.from(layer).fill(1, 600, 700) });
    await expect(copy('docker-archive:wrong.tar', 'oci:never')).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    writeDocker('wrong.tar', { stored: (layer) => gzipSync(Buffer.concat([layer, layer])) });
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining('a/layer.tar'),
    });
    const { config, configName, entry } = dockerParts(['a']);
    const write = (items: TarItem[]) => writeFileSync(at('wrong.tar'), makeTar(items));
    const manifest = item('manifest.json', json([entry]));
    write([manifest]);
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(configName),
    });
    write([manifest, item(configName, config)]);
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('a/layer.tar is missing'),
    });
    write([manifest, item(configName, Buffer.concat([config, Buffer.from(' ')]))]);
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    write([item('manifest.json', json([{ ...entry, Layers: [] }])), item(configName, config)]);
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({ code: 'MALFORMED' });
    write([item('manifest.json', json([{ Layers: [] }]))]);
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({
      code: 'MALFORMED',
      message: expect.stringContaining('0.Config'),
    });
    write([item('repositories', '{}')]);
    await expect(manifestOf('docker-archive:wrong.tar')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await writePlain();
    await copy('oci:plain:x', 'oci-archive:oci.tar');
    await expect(manifestOf('docker-archive:oci.tar')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      hint: expect.stringContaining('oci-archive:FILE'),
    });
  });

  it('takes one image of an index with a platform, and no index', async () => {
    await writeIndexLayout(at('source'), 'both', 5000);
    await expect(copy('oci:source:both', 'docker-archive:d.tar:x')).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('--platform'),
    });
    expect(readdirSync(directory)).toEqual(['source']);
    await copy('oci:source:both', 'docker-archive:d.tar:x', { platform: 'linux/arm64' });
    const { config } = await manifestOf('docker-archive:d.tar:x:latest');
    const bytes = await using('docker-archive:d.tar', async (source) => {
      await source.resolve();
      return buffer(await source.openBlob(config));
    });
    expect(JSON.parse(bytes.toString())).toMatchObject({ architecture: 'arm64' });
  });

  it('takes no Nydus image, and refuses before anything is converted or copied', async () => {
    await writePlain();
    const source = open('oci:plain:x');
    const convert = (to: string, onProgress = () => {}) =>
      convertImage({
        source,
        target: openTarget(parseReference(place(to))),
        sourceReference: 'x',
        options: { jobs: 1 },
        onProgress,
      });
    const onProgress = vi.fn();
    await expect(convert('docker-archive:d.tar', onProgress)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(onProgress).not.toHaveBeenCalled();
    await convert('oci-archive:n.tar:n');
    await expect(copy('oci-archive:n.tar:n', 'docker-archive:d.tar', { onProgress })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
    expect(onProgress).not.toHaveBeenCalled();
    expect(readdirSync(directory).sort()).toEqual(['n.tar', 'plain']);
  });

  it('leaves what was there when a layer is not what the configuration says', async () => {
    await writePlain();
    const manifest = await manifestOf('oci:plain:x');
    const target = new LayoutTarget({ transport: 'oci', path: at('lying'), tag: 'x' });
    const config = json({ rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] } });
    const writer = await target.createBlob();
    await writer.write(config);
    const stored = { mediaType: manifest.config.mediaType, ...(await writer.commit()) };
    const lying = { ...manifest, config: stored, layers: manifest.layers.slice(0, 1) };
    const blob = await target.createBlob();
    await blob.write(readFileSync(at(`plain/blobs/sha256/${hexOf(lying.layers[0]!.digest)}`)));
    await blob.commit();
    await target.putManifest(json(lying), manifest.mediaType, { tag: true });
    await target.commit();
    writeFileSync(at('d.tar'), 'earlier');
    await expect(copy('oci:lying:x', 'docker-archive:d.tar')).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    expect(readFileSync(at('d.tar'), 'utf8')).toBe('earlier');
    expect(readdirSync(directory).sort()).toEqual(['d.tar', 'lying', 'plain']);
  });
});

it('replaces the archive that a symlink leads to, and nothing that is no file', async () => {
  await writePlain();
  writeFileSync(at('real.tar'), 'earlier');
  symlinkSync('real.tar', at('link.tar'));
  await copy('oci:plain:x', 'oci-archive:link.tar');
  expect((await manifestOf('oci-archive:real.tar')).layers).toHaveLength(2);
  symlinkSync('/dev/null', at('null'));
  for (const target of ['oci-archive:null', 'docker-archive:plain']) {
    await expect(copy('oci:plain:x', target)).rejects.toMatchObject({ code: 'USAGE' });
  }
  await expect(copy('oci:plain:x', 'oci-archive:no/where.tar')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(readdirSync(directory).sort()).toEqual(['link.tar', 'null', 'plain', 'real.tar']);
});

it('names no target by digest or place', () => {
  for (const text of [`oci-archive:x.tar@sha256:${'0'.repeat(64)}`, 'docker-archive:x.tar:@0']) {
    expect(() => openTarget(parseReference(text))).toThrow(expect.objectContaining({ code: 'USAGE' }));
  }
});
