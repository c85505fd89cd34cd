import { describe, expect, it } from 'vitest';
import { type PlatformChoice, selectEntries } from '../../src/convert/select-entries.js';
import type { Descriptor, Platform } from '../../src/image/descriptor.js';
import type { Index } from '../../src/image/manifest.js';
import { NYDUS_MANIFEST_ARTIFACT, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { parsePlatform } from '../../src/image/platform.js';

const digest = (name: string) => `sha256:${Buffer.from(name).toString('hex').padStart(64, '0')}`;

/** An entry called `name`: `OS/ARCHITECTURE` is its platform if it looks like one. */
function entry(name: string, more: Partial<Descriptor> = {}): Descriptor & { name: string } {
  const [text] = name.split(' ');
  const platform: Platform | undefined = /^\w+\/\w+/.test(text!) ? parsePlatform(text!) : undefined;
  return {
    name,
    mediaType: OCI_MANIFEST,
    digest: digest(name),
    size: 1,
    ...(platform && { platform }),
    ...more,
  };
}
const attestation = (of: string) =>
  entry('unknown/unknown', {
    digest: digest(`attests ${of}`),
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': digest(of),
    },
  });
const nydus = (name: string) =>
  entry(name, { digest: digest(`nydus ${name}`), artifactType: NYDUS_MANIFEST_ARTIFACT });

function select(manifests: Descriptor[], choice: 'all' | string[]) {
  const index: Index = { kind: 'index', schemaVersion: 2, mediaType: OCI_INDEX, manifests, raw: {} };
  const platforms: PlatformChoice = choice === 'all' ? 'all' : choice.map(parsePlatform);
  const { images, carried } = selectEntries(index, platforms);
  const places = (entries: Descriptor[]) => entries.map((each) => manifests.indexOf(each));
  return { images: places(images), carried: places(carried) };
}

const usual = [
  entry('linux/amd64'),
  entry('linux/arm64/v8'),
  entry('windows/amd64'),
  attestation('linux/amd64'),
  attestation('linux/arm64/v8'),
  attestation('windows/amd64'),
  attestation('something else'),
  entry('sbom', { artifactType: 'application/spdx+json' }),
  entry('nested', { mediaType: OCI_INDEX }),
];

describe('of an index', () => {
  it.each<[string, 'all' | string[], number[], number[]]>([
    ['everything', 'all', [0, 1], [2, 3, 4, 5, 6, 7, 8]],
    ['one platform', ['linux/arm64'], [1], [4, 6, 7, 8]],
    ['two, in the order of the index', ['linux/arm64', 'linux/amd64'], [0, 1], [3, 4, 6, 7, 8]],
    ['one twice', ['linux/arm64', 'linux/arm64/v8'], [1], [4, 6, 7, 8]],
  ])('%s', (_, choice, images, carried) => {
    expect(select(usual, choice)).toEqual({ images, carried });
  });

  it('with Nydus images those beside an ordinary one give way', () => {
    const merged = [entry('linux/amd64'), nydus('linux/amd64'), nydus('linux/arm64')];
    expect(select(merged, ['linux/amd64'])).toEqual({ images: [0], carried: [] });
    // The last stands alone, so what it is has to be said when it is read.
    expect(select(merged, 'all')).toEqual({ images: [0, 2], carried: [] });
  });

  it('a single entry without a platform is the image', () => {
    expect(select([entry('lonely')], 'all')).toEqual({ images: [0], carried: [] });
    expect(select([entry('lonely')], ['linux/arm64'])).toEqual({ images: [0], carried: [] });
  });

  it.each<[string, Descriptor[], 'all' | string[]]>([
    ['a platform is missing', usual, ['linux/amd64', 'linux/s390x']],
    ['there is none for Linux', [entry('windows/amd64'), attestation('x')], 'all'],
    ['it is empty', [], 'all'],
  ])('NOT_FOUND if %s', (_, manifests, choice) => {
    expect(() => select(manifests, choice)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });
});
