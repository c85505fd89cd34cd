import { describe, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { parseImageConfig } from '../../src/image/config.js';
import { parseImageManifest } from '../../src/image/manifest.js';
import {
  DOCKER_LAYER_GZIP,
  DOCKER_MANIFEST,
  NYDUS_CONFIG,
  OCI_MANIFEST,
} from '../../src/image/media-types.js';
import {
  blobLayers,
  buildNydusManifest,
  findBootstrapLayer,
  isNydusManifest,
  type NydusImageParts,
} from '../../src/image/nydus-manifest.js';
import { golden } from './golden.js';

const theirs = parseImageManifest(golden('nydus-manifest.raw'), 'theirs');
const theirConfig = JSON.parse(golden('nydus-config.raw').toString());
const source = parseImageManifest(golden('source-manifest.raw'), 'source');
const config = parseImageConfig(golden('source-config.raw'), 'source');
const [blob0, blob1, bootstrap] = theirs.layers.map(({ digest, size }) => ({ digest, size })) as [
  Stored,
  Stored,
  Stored,
];
type Stored = { digest: string; size: number };

const parts: NydusImageParts = {
  source,
  config,
  sourceDescriptor: {
    mediaType: OCI_MANIFEST,
    digest: 'sha256:a896d61b3a9917e648580d6aac6b3b9a2fd9269f1c139bf65059662cca6c1fe9',
    size: 591,
  },
  sourceReference: '127.0.0.1:5056/tiny:src',
  blobs: [blob0, blob1],
  bootstrap: { ...bootstrap, diffId: theirConfig.rootfs.diff_ids[2] },
};

describe('building', () => {
  it('writes the documents that nydusify wrote for the same image', () => {
    const { manifest, config: ours } = buildNydusManifest(parts);
    expect(JSON.parse(ours.bytes.toString())).toEqual(theirConfig);
    expect(ours.descriptor).toEqual({
      mediaType: source.config.mediaType,
      digest: ociDigest(ours.bytes),
      size: ours.bytes.length,
    });
    const document = JSON.parse(manifest.bytes.toString());
    expect(document).toEqual({ ...theirs.raw, config: ours.descriptor });
    expect(manifest.mediaType).toBe(source.mediaType);
  });

  it('is repeatable, and says nothing of its source when that has no name', () => {
    const nameless = { ...parts, sourceReference: undefined };
    const { manifest } = buildNydusManifest(nameless);
    expect(manifest.bytes).toEqual(buildNydusManifest(nameless).manifest.bytes);
    expect(manifest.bytes.toString()).not.toContain('source-reference');
  });

  it('leaves out layers without a blob and marks their history', () => {
    const { manifest, config: ours } = buildNydusManifest({ ...parts, blobs: [undefined, blob1] });
    const document = JSON.parse(manifest.bytes.toString());
    expect(document.layers.map(({ digest }: Stored) => digest)).toEqual([blob1.digest, bootstrap.digest]);
    const { rootfs, history } = JSON.parse(ours.bytes.toString());
    expect(rootfs.diff_ids).toEqual([blob1.digest, parts.bootstrap.diffId]);
    expect(history[0]).toEqual({ created: '2024-01-02T03:04:05Z', created_by: 'layer 0', empty_layer: true });
    expect(history.filter((entry: { empty_layer?: boolean }) => !entry.empty_layer)).toHaveLength(2);
  });

  it('leaves a history alone that did not match the layers', () => {
    const odd = parseImageConfig(
      Buffer.from(JSON.stringify({ ...config.raw, history: [{ created_by: 'only one' }] })),
      'odd',
    );
    const { config: ours } = buildNydusManifest({ ...parts, config: odd, blobs: [undefined, blob1] });
    expect(JSON.parse(ours.bytes.toString()).history).toEqual([
      { created_by: 'only one' },
      { created_by: 'Nydus Converter', comment: 'Nydus Bootstrap Layer' },
    ]);
  });

  it('keeps members that nobody knows, and the Docker flavour', () => {
    const docker = parseImageManifest(
      Buffer.from(JSON.stringify({ ...source.raw, mediaType: DOCKER_MANIFEST, novel: { a: [1] } })),
      'docker',
    );
    const strange = parseImageConfig(
      Buffer.from(JSON.stringify({ ...config.raw, container_config: { x: null } })),
      'strange',
    );
    const built = buildNydusManifest({ ...parts, source: docker, config: strange });
    const document = JSON.parse(built.manifest.bytes.toString());
    expect(document.novel).toEqual({ a: [1] });
    expect(document.mediaType).toBe(DOCKER_MANIFEST);
    expect(document.layers.at(-1).mediaType).toBe(DOCKER_LAYER_GZIP);
    expect(JSON.parse(built.config.bytes.toString()).container_config).toEqual({ x: null });
  });

  it('names its source as subject, and hides its configuration in a merged index, when asked', () => {
    const built = buildNydusManifest({
      ...parts,
      sourceDescriptor: { ...parts.sourceDescriptor, platform: { os: 'linux' } } as never,
      withReferrer: true,
      merged: true,
    });
    const document = parseImageManifest(built.manifest.bytes, 'built');
    expect(document.subject).toEqual(parts.sourceDescriptor);
    expect(document.config).toEqual(built.config.descriptor);
    expect(built.config.descriptor.mediaType).toBe(NYDUS_CONFIG);
    const plain = buildNydusManifest(parts);
    expect(built.config.bytes).toEqual(plain.config.bytes);
    expect(parseImageManifest(plain.manifest.bytes, 'plain').subject).toBeUndefined();
  });

  it('insists on one entry per layer', () => {
    expect(() => buildNydusManifest({ ...parts, blobs: [blob0] })).toThrow('1 blobs for 2 layers');
  });
});

describe('reading', () => {
  it('says that an encrypted bootstrap layer needs to be decrypted, and by what', () => {
    const layers = theirs.layers.with(-1, {
      ...theirs.layers.at(-1)!,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
    });
    expect(() => findBootstrapLayer({ ...theirs, layers }, 'h.io/x:1')).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(
          /^h\.io\/x:1: the bootstrap layer sha256:\w+ is encrypted \(ocicrypt\)/,
        ),
        hint: expect.stringContaining('--decryption-key'),
      }),
    );
  });

  it('tells Nydus images from others', () => {
    expect(isNydusManifest(theirs)).toBe(true);
    expect(isNydusManifest(source)).toBe(false);
    expect(findBootstrapLayer(theirs, 'x').size).toBe(993);
    expect(() => findBootstrapLayer(source, 'h.io/x:1')).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: 'h.io/x:1: not a Nydus image' }),
    );
    expect(blobLayers(theirs).map(({ size }) => size)).toEqual([12471, 13691]);
    expect(blobLayers(source)).toEqual([]);
  });

  it('reads back what was built', () => {
    const built = parseImageManifest(buildNydusManifest(parts).manifest.bytes, 'built');
    expect(isNydusManifest(built)).toBe(true);
    expect(blobLayers(built)).toHaveLength(2);
  });
});
