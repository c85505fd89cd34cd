import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/image/descriptor.js';
import { type Index, parseManifest } from '../../src/image/manifest.js';
import { DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { buildNydusIndex } from '../../src/image/nydus-index.js';
import { golden } from './golden.js';

const digest = (n: number) => `sha256:${String(n).padStart(64, '0')}`;
const descriptor = (n: number, more: Partial<Descriptor> = {}): Descriptor => ({
  mediaType: OCI_MANIFEST,
  digest: digest(n),
  size: n,
  ...more,
});
const amd64 = { os: 'linux', architecture: 'amd64' };

function sourceIndex(manifests: Descriptor[], mediaType = OCI_INDEX): Index {
  const raw = { schemaVersion: 2, mediaType, manifests, annotations: { a: 'b' }, novel: [1] };
  return parseManifest(Buffer.from(JSON.stringify(raw)), 'source') as Index;
}
const read = ({ bytes }: { bytes: Buffer }) => JSON.parse(bytes.toString());

describe('the index of Nydus images', () => {
  it('keeps platform and annotations of entries, and nothing that was about their bytes', () => {
    const entry = descriptor(1, {
      platform: { ...amd64, 'os.version': '1' },
      annotations: { x: 'y' },
      data: 'AAAA',
      urls: ['https://example.com'],
    });
    const other = descriptor(2);
    const built = buildNydusIndex({
      source: sourceIndex([entry, other]),
      images: [{ entry, nydus: descriptor(10, { platform: { os: 'x', architecture: 'y' } }) }],
      carried: [other],
      merge: false,
    });
    expect(built.mediaType).toBe(OCI_INDEX);
    expect(read(built)).toEqual({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      annotations: { a: 'b' },
      novel: [1],
      manifests: [
        descriptor(10, { platform: { ...amd64, 'os.version': '1' }, annotations: { x: 'y' } }),
        other,
      ],
    });
  });

  it('has the type of the source, or that of OCI if merged or made of a single image', () => {
    const entry = descriptor(1, { mediaType: DOCKER_MANIFEST, platform: amd64 });
    const images = [{ entry, nydus: descriptor(10, { mediaType: DOCKER_MANIFEST }) }];
    const source = sourceIndex([entry], DOCKER_INDEX);
    const typeOf = (from: Index | undefined, merge: boolean) => {
      const built = buildNydusIndex({ source: from, images, carried: [], merge });
      expect(read(built).mediaType).toBe(built.mediaType);
      expect(parseManifest(built.bytes, 'built').kind).toBe('index');
      return built.mediaType;
    };
    expect(typeOf(source, false)).toBe(DOCKER_INDEX);
    expect(typeOf(source, true)).toBe(OCI_INDEX);
    expect(typeOf(undefined, true)).toBe(OCI_INDEX);
  });

  it('merged is that of nydusify but for the ordinary manifest, which stays, and the media type', () => {
    const theirs = JSON.parse(golden('merged-index.raw').toString());
    const [plain, nydus] = theirs.manifests as [Descriptor, Descriptor];
    const { annotations: _, ...entry } = plain;
    const built = buildNydusIndex({
      source: undefined,
      images: [{ entry, nydus }],
      carried: [],
      merge: true,
    });
    expect(read(built)).toEqual({ ...theirs, mediaType: OCI_INDEX, manifests: [entry, nydus] });
  });
});
