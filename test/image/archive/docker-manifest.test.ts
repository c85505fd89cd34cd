import { expect, it } from 'vitest';
import {
  canonicalName,
  MAX_ARCHIVE_IMAGES,
  parseDockerManifest,
} from '../../../src/image/archive/docker-manifest.js';
import { MAX_LAYERS } from '../../../src/image/manifest.js';

const parse = (value: unknown) =>
  parseDockerManifest(Buffer.from(JSON.stringify(value)), 'x.tar: manifest.json');
const image = { Config: 'c.json', RepoTags: ['x:1'], Layers: ['a.tar'] };

it('reads what docker save, skopeo and others write', () => {
  expect(parse([{ ...image, LayerSources: {}, Parent: 'x' }])).toEqual([
    { config: 'c.json', repoTags: ['x:1'], layers: ['a.tar'] },
  ]);
  expect(parse([{ Config: 'c.json', RepoTags: null, Layers: null }])).toEqual([
    { config: 'c.json', repoTags: [], layers: [] },
  ]);
});

it.each([
  ['no list', {}, 'x.tar: manifest.json'],
  ['no configuration', [image, { ...image, Config: '' }], '1.Config'],
  ['layers that are no names', [{ ...image, Layers: [1] }], '0.Layers.0'],
  ['names that are none', [{ ...image, RepoTags: 'x:1' }], '0.RepoTags'],
])('refuses %s', (_, value, where) => {
  expect(() => parse(value)).toThrow(
    expect.objectContaining({ code: 'MALFORMED', message: expect.stringContaining(where) }),
  );
});

it('has limits, exact to the one', () => {
  const images = (count: number) => Array.from({ length: count }, () => image);
  expect(parse(images(MAX_ARCHIVE_IMAGES))).toHaveLength(MAX_ARCHIVE_IMAGES);
  expect(() => parse(images(MAX_ARCHIVE_IMAGES + 1))).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  const layers = (count: number) => [{ ...image, Layers: Array.from({ length: count }, () => 'a.tar') }];
  expect(parse(layers(MAX_LAYERS))[0]!.layers).toHaveLength(MAX_LAYERS);
  expect(() => parse(layers(MAX_LAYERS + 1))).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
});

it('adds to a name what Docker leaves out', () => {
  expect(canonicalName('x')).toBe('docker.io/library/x:latest');
  expect(canonicalName('h.io:5000/a/b:1')).toBe('h.io:5000/a/b:1');
  expect(canonicalName('<none>:<none>')).toBe('<none>:<none>');
});
