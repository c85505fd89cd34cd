import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { isRafterError } from '../../src/errors.js';
import { MAX_CONFIG_SIZE, parseImageConfig } from '../../src/image/config.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { MAX_JSON_DEPTH } from '../../src/image/json.js';
import {
  MAX_INDEX_ENTRIES,
  MAX_LAYERS,
  MAX_MANIFEST_SIZE,
  parseImageManifest,
  parseManifest,
} from '../../src/image/manifest.js';
import { DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { findManifestOf, readManifest } from '../../src/image/read-manifest.js';
import type { ImageSource } from '../../src/image/source.js';
import { golden } from './golden.js';

// Many thousand cases: well under a second alone, not on a machine that builds and tests other things as well.
vi.setConfig({ testTimeout: 60_000 });

const descriptor = { mediaType: 'a/b', digest: `sha256:${'0'.repeat(64)}`, size: 3 };
const manifest = { schemaVersion: 2, config: descriptor, layers: [descriptor] };
const index = { schemaVersion: 2, manifests: [descriptor] };
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

it('takes what stands in a manifest where a registry does not name its type', async () => {
  const content = bytes(manifest);
  const source = { name: 'x', readManifest: async () => content } as unknown as ImageSource;
  const unnamed: Descriptor = { ...(descriptor as Descriptor), mediaType: '' };
  expect(await readManifest(source, unnamed)).toMatchObject({ kind: 'manifest', mediaType: OCI_MANIFEST });
  expect(await findManifestOf(source, unnamed)).toMatchObject({ descriptor: unnamed });
});

it('reads what nydusify wrote', () => {
  const parsed = parseImageManifest(golden('nydus-manifest.raw'), 'golden');
  expect(parsed.layers.map(({ size }) => size)).toEqual([12471, 13691, 993]);
  expect(parsed.annotations?.golden).toBe('source');
  expect(parseManifest(golden('merged-index.raw'), 'golden')).toMatchObject({
    kind: 'index',
    mediaType: OCI_INDEX,
    manifests: [
      { platform: { os: 'linux' } },
      { artifactType: 'application/vnd.nydus.image.manifest.v1+json' },
    ],
  });
});

it('takes the media type from the JSON, then from what was declared, then from the members', () => {
  expect(parseManifest(bytes({ ...manifest, mediaType: DOCKER_MANIFEST }), 'm', OCI_MANIFEST).mediaType).toBe(
    DOCKER_MANIFEST,
  );
  expect(parseManifest(bytes(manifest), 'm', DOCKER_MANIFEST).mediaType).toBe(DOCKER_MANIFEST);
  expect(parseManifest(bytes(manifest), 'm').mediaType).toBe(OCI_MANIFEST);
  expect(parseManifest(bytes(index), 'm', DOCKER_INDEX).mediaType).toBe(DOCKER_INDEX);
  expect(parseManifest(bytes(index), 'm').mediaType).toBe(OCI_INDEX);
});

it('keeps members that it does not know', () => {
  const parsed = parseManifest(bytes({ ...manifest, artifactType: 'x/y', novel: [1, { a: null }] }), 'm');
  expect(parsed.raw.novel).toEqual([1, { a: null }]);
  expect(parsed.artifactType).toBe('x/y');
});

it.each([
  ['a name', { ...manifest, annotations: { '\x1b]0;title\x07': 1 } }, 'annotations.\\u001b]0;title\\u0007'],
  ['a value', { ...manifest, schemaVersion: '\x9b2J' }, 'but received "\\u009b2J"'],
  ['a media type', { ...manifest, mediaType: 'a\nb' }, 'no image manifest but a\\u000ab'],
  ['a long value', { ...manifest, schemaVersion: 'v'.repeat(100_000) }, 'but received "vvv'],
])('%s shows in the message short and without control characters', (_, document, shown) => {
  const parse = () => parseManifest(bytes(document), 'the.name');
  expect(parse).toThrow(expect.objectContaining({ message: expect.stringContaining(shown) }));
  expect(parse).toThrow(expect.objectContaining({ message: expect.stringMatching(/^\P{Cc}{1,400}$/u) }));
});

describe('refuses with the field in the message', () => {
  it.each([
    ['no JSON', Buffer.from('<html>'), 'MALFORMED', 'the.name: not JSON'],
    [
      'bytes that are not UTF-8',
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      'MALFORMED',
      'not JSON',
    ],
    ['a list', bytes([]), 'MALFORMED', 'not a JSON object'],
    ['null', bytes(null), 'MALFORMED', 'not a JSON object'],
    ['neither kind', bytes({ schemaVersion: 2 }), 'MALFORMED', 'neither a manifest'],
    ['both kinds', bytes({ ...manifest, ...index }), 'MALFORMED', 'of a manifest and of an index'],
    ['a type that lies', bytes({ ...manifest, mediaType: OCI_INDEX }), 'MALFORMED', 'does not fit'],
    [
      'another kind of document',
      bytes({ ...manifest, mediaType: 'text/plain' }),
      'UNSUPPORTED',
      'text/plain',
    ],
    ['schema 1', bytes({ schemaVersion: 1, fsLayers: [] }), 'UNSUPPORTED', 'schema version 1'],
    ['another schema', bytes({ ...manifest, schemaVersion: 3 }), 'MALFORMED', 'schemaVersion'],
    [
      'a bad digest',
      bytes({ ...manifest, layers: [descriptor, { ...descriptor, digest: 'x' }] }),
      'MALFORMED',
      'layers.1.digest',
    ],
    ['a bad size', bytes({ ...manifest, config: { ...descriptor, size: -1 } }), 'MALFORMED', 'config.size'],
    ['no layers', bytes({ ...manifest, layers: undefined }), 'MALFORMED', 'layers'],
  ])('%s', (_, input, code, message) => {
    expect(() => parseManifest(input, 'the.name')).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });

  it('an index where a manifest is needed', () => {
    expect(() => parseImageManifest(bytes(index), 'm')).toThrow('an index where the manifest of one image');
  });
});

it('has limits, exact to the one', () => {
  const many = (count: number) => Array.from({ length: count }, () => descriptor);
  expect(parseManifest(bytes({ ...manifest, layers: many(MAX_LAYERS) }), 'm').kind).toBe('manifest');
  expect(() => parseManifest(bytes({ ...manifest, layers: many(MAX_LAYERS + 1) }), 'm')).toThrow('layers');
  expect(parseManifest(bytes({ ...index, manifests: many(MAX_INDEX_ENTRIES) }), 'm').kind).toBe('index');
  expect(() => parseManifest(bytes({ ...index, manifests: many(MAX_INDEX_ENTRIES + 1) }), 'm')).toThrow(
    'manifests',
  );
  const text = JSON.stringify(manifest);
  expect(parseManifest(Buffer.from(text.padEnd(MAX_MANIFEST_SIZE)), 'm').kind).toBe('manifest');
  expect(() => parseManifest(Buffer.from(text.padEnd(MAX_MANIFEST_SIZE + 1)), 'm')).toThrow(
    expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
  );
});

it('answers every JSON with a value or a RafterError', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.constantFrom('schemaVersion', 'config', 'layers', 'manifests'),
      (value, key) => {
        for (const input of [value, { ...manifest, [key]: value }, { ...index, [key]: value }]) {
          try {
            parseManifest(bytes(input), 'm');
          } catch (error) {
            if (!isRafterError(error, 'MALFORMED', 'UNSUPPORTED')) throw error;
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

describe('configuration', () => {
  it('reads what nydusify wrote', () => {
    const config = parseImageConfig(golden('nydus-config.raw'), 'golden');
    expect(config).toMatchObject({
      os: 'linux',
      architecture: 'amd64',
      config: { User: '1000:1000', Cmd: ['--flag'] },
    });
    expect(config.diffIds).toHaveLength(3);
    expect(config.history.map((entry) => Boolean(entry.empty_layer))).toEqual([false, false, true, false]);
  });

  it('takes null where Go writes it', () => {
    const config = parseImageConfig(
      bytes({
        os: 'linux',
        config: { Env: null, Entrypoint: null, Labels: null },
        rootfs: { diff_ids: null },
        history: null,
      }),
      'c',
    );
    expect(config).toMatchObject({ architecture: '', diffIds: [], history: [], config: { Env: null } });
    expect(parseImageConfig(bytes({ rootfs: {}, config: null }), 'c').config).toEqual({});
  });

  it('has a limit, exact to the byte', () => {
    const text = '{"rootfs":{}}';
    expect(parseImageConfig(Buffer.from(text.padEnd(MAX_CONFIG_SIZE)), 'c').diffIds).toEqual([]);
    expect(() => parseImageConfig(Buffer.from(text.padEnd(MAX_CONFIG_SIZE + 1)), 'c')).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
  });

  it.each([
    [{}, 'rootfs'],
    [{ rootfs: { diff_ids: ['abc'] } }, 'rootfs.diff_ids.0'],
    [{ rootfs: {}, config: { Env: 'A=1' } }, 'config.Env'],
    [{ rootfs: {}, config: { Cmd: [1] } }, 'config.Cmd.0'],
    [{ rootfs: {}, history: [{ empty_layer: 'yes' }] }, 'history.0.empty_layer'],
  ])('refuses %j', (value, field) => {
    expect(() => parseImageConfig(bytes(value), 'c')).toThrow(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringContaining(field) }),
    );
  });
});

it('takes JSON as deep as the limit and refuses it one deeper', () => {
  const nested = (depth: number) => {
    const novel = `${'['.repeat(depth - 2)}{"[[[\\"[[[": 1}${']'.repeat(depth - 2)}`;
    return Buffer.from(JSON.stringify(manifest).replace('{', `{"novel":${novel},`));
  };
  expect(parseManifest(nested(MAX_JSON_DEPTH), 'm').kind).toBe('manifest');
  expect(() => parseManifest(nested(MAX_JSON_DEPTH + 1), 'm')).toThrow(
    expect.objectContaining({ code: 'LIMIT_EXCEEDED', message: 'm: JSON nested more than 256 deep' }),
  );
  expect(() => parseManifest(nested(1_000_000), 'm')).toThrow(
    expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
  );
});
