import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { type ExportRequest, exportImage } from '../../src/export/export.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';
import { convertLayout, goldenTar, makeLayout } from '../convert/layouts.js';
import { readImage } from '../convert/read-image.js';
import { makeTar, type TarItem } from '../convert/tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });

let count = 0;

/** Exports the image `out` of a layout to a new layout beside it, tag `t`. */
async function exportLayout(dir: string, more: Partial<ExportRequest> = {}) {
  const to = join(dirname(dir), `exported${count++}`);
  const source = new LayoutSource({ transport: 'oci', path: dir, tag: 'out' });
  const target = new LayoutTarget({ transport: 'oci', path: to, tag: 't' });
  try {
    const summary = await exportImage({ source, target, platform: 'linux/amd64', ...more });
    return { summary, dir: to };
  } finally {
    await source.close();
  }
}

const blob = (dir: string, digest: string) => readFileSync(join(dir, 'blobs/sha256', hexOf(digest)));
const json = (dir: string, digest: string) => JSON.parse(blob(dir, digest).toString());

const exportTars = async (layers: TarItem[][], config = {}) => {
  const converted = await convertLayout(makeLayout(layers.map(makeTar), { config }));
  const exported = await exportLayout(converted.dir);
  const manifest = json(exported.dir, exported.summary.target.digest);
  return { converted, exported, manifest, config: json(exported.dir, manifest.config.digest) };
};

describe('the exported image', () => {
  it('converted again has the same tree, whatever was in it', async () => {
    const layers = ['full1', 'full2', 'full3'].map(goldenTar);
    const { dir } = await convertLayout(makeLayout(layers));
    const { rows: before } = await readImage(dir);
    const exported = await exportLayout(dir);
    const again = await convertLayout(exported.dir);
    const { rows: after } = await readImage(again.dir);
    const plain = (rows: typeof before) => [...rows.values()].map(({ nid: _, ...row }) => row);
    expect(before.size).toBeGreaterThan(700);
    expect(plain(after)).toEqual(plain(before));
    expect(exported.summary).toMatchObject({ warnings: [], layer: { entries: expect.any(Number) } });
  });

  it('has one layer, whose digests are right, and the configuration of the source', async () => {
    const history = [{ created_by: 'one' }, { created_by: 'nothing', empty_layer: true }];
    const { manifest, config, exported } = await exportTars([[{ name: 'a', data: 'x' }]], {
      history,
      config: { Cmd: ['/a'], Labels: { '<x>': 'y' } },
      novel: [1],
    });
    expect(manifest).toMatchObject({ schemaVersion: 2, mediaType: OCI_MANIFEST });
    expect(manifest.config.mediaType).toBe(OCI_CONFIG);
    const [layer, ...more]: Descriptor[] = manifest.layers;
    expect(more).toEqual([]);
    expect(layer!.mediaType).toBe(OCI_LAYER_GZIP);
    const stored = blob(exported.dir, layer!.digest);
    expect(stored).toHaveLength(layer!.size);
    const diffId = ociDigest(gunzipSync(stored));
    expect(exported.summary.layer).toMatchObject({ digest: layer!.digest, bytes: layer!.size, diffId });
    expect(config).toMatchObject({ config: { Cmd: ['/a'], Labels: { '<x>': 'y' } }, novel: [1] });
    expect(config.rootfs).toEqual({ type: 'layers', diff_ids: [diffId] });
    expect(config.history).toEqual([
      { created_by: 'one', empty_layer: true },
      { created_by: 'nothing', empty_layer: true },
      { created_by: 'rafter export', comment: 'all layers in one' },
    ]);
    expect(JSON.stringify(manifest)).not.toContain('nydus');
    expect(exported.summary.target.bytes).toBe(layer!.size + manifest.config.size);
  });

  it('has the same bytes again, which say nothing of the machine', async () => {
    const items = Array.from({ length: 50 }, (_, i) => ({ name: `f${i}`, data: `${i} `.repeat(5000 * i) }));
    const { converted, exported } = await exportTars([items]);
    const again = await exportLayout(converted.dir);
    expect(again.summary).toEqual(exported.summary);
    expect(blob(again.dir, again.summary.layer.digest).subarray(0, 10).toString('hex')).toBe(
      '1f8b08000000000000ff',
    );
  });

  it('of an image without layers is a root', async () => {
    const { exported } = await exportTars([]);
    expect(exported.summary.layer).toMatchObject({ entries: 1, tarBytes: 512 + 1024 });
  });

  it('of a merged index is that of its Nydus image', async () => {
    const source = makeLayout([makeTar([{ name: 'a', data: 'x' }])]);
    const plain = await exportLayout((await convertLayout(source)).dir);
    const merged = await exportLayout((await convertLayout(source, {}, { mergeIndex: true })).dir);
    expect(merged.summary.target).toEqual(plain.summary.target);
  });
});

describe('what is wrong', () => {
  const failure = async (dir: string, more: Partial<ExportRequest> = {}) => {
    const error = await exportLayout(dir, more).catch((e: unknown) => e);
    expect(existsSync(join(dirname(dir), `exported${count - 1}`))).toBe(false);
    return error;
  };

  it('with the bytes of a chunk is told, and nothing is left', async () => {
    const { dir, summary } = await convertLayout(
      makeLayout([makeTar([{ name: 'a', data: 'x'.repeat(5000) }])]),
    );
    const path = join(dir, 'blobs/sha256', hexOf(summary.layers[0]!.blobDigest!));
    const bytes = readFileSync(path);
    bytes[2]! ^= 0xff;
    writeFileSync(path, bytes);
    expect(await failure(dir)).toMatchObject({ code: expect.stringMatching(/DIGEST_MISMATCH|MALFORMED/) });
  });

  it('an ordinary image is not exported', async () => {
    const dir = makeLayout([makeTar([])]);
    const source = new LayoutSource({ transport: 'oci', path: dir, tag: 't' });
    expect(await failure(dir, { source })).toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('an interrupted export leaves nothing', async () => {
    const { dir } = await convertLayout(makeLayout([makeTar([{ name: 'a', data: 'x'.repeat(5000) }])]));
    const stop = new AbortController();
    const error = await failure(dir, { signal: stop.signal, onProgress: () => stop.abort() });
    expect(error).toMatchObject({ code: 'INTERRUPTED' });
  });
});
