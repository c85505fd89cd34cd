import { describe, expect, it } from 'vitest';
import type { Descriptor, Platform } from '../../src/image/descriptor.js';
import { type Index, parseManifest } from '../../src/image/manifest.js';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { formatPlatform, hostPlatform, parsePlatform, selectPlatform } from '../../src/image/platform.js';
import { golden } from './golden.js';

function indexOf(...platforms: (Platform | undefined)[]): Index {
  const manifests = platforms.map((platform, size): Descriptor => {
    const digest = `sha256:${String(size).padStart(64, '0')}`;
    return { mediaType: OCI_MANIFEST, digest, size, platform };
  });
  return { kind: 'index', schemaVersion: 2, mediaType: OCI_INDEX, manifests, raw: {} };
}
const linux = (architecture: string, variant?: string): Platform => ({ os: 'linux', architecture, variant });

it('reads and writes platforms', () => {
  for (const text of ['linux/amd64', 'linux/arm64/v8', 'windows/amd64']) {
    expect(formatPlatform(parsePlatform(text))).toBe(text);
  }
  for (const text of ['', 'linux', 'linux/', 'linux/amd64/v1/x', 'Linux/amd64', ' linux/amd64']) {
    expect(() => parsePlatform(text), text).toThrow(expect.objectContaining({ code: 'USAGE' }));
  }
  expect(hostPlatform().os).toBe('linux');
  expect(hostPlatform().architecture).not.toBe('x64');
});

describe('selection from an index', () => {
  it.each([
    ['linux/amd64', [linux('arm64'), linux('amd64')], 1],
    ['linux/arm64', [linux('amd64'), linux('arm64', 'v8')], 1],
    ['linux/arm64/v8', [linux('amd64'), linux('arm64')], 1],
    ['linux/arm', [linux('arm', 'v6'), linux('arm', 'v7')], 1],
    ['linux/arm/v6', [linux('arm', 'v7'), linux('arm', 'v6')], 1],
    ['linux/amd64', [linux('amd64', 'v3'), linux('amd64')], 1],
    ['linux/amd64', [undefined], 0],
    ['linux/amd64', [{ os: '', architecture: '' }], 0],
  ] as const)('%s', (wanted, platforms, expected) => {
    expect(selectPlatform(indexOf(...platforms), wanted).size).toBe(expected);
  });

  it('takes this machine without being told one', () => {
    expect(selectPlatform(indexOf(linux('other'), hostPlatform()), undefined).size).toBe(1);
  });

  it('lists what there is when nothing fits', () => {
    const index = indexOf(linux('amd64'), linux('arm', 'v7'), { os: 'unknown', architecture: 'unknown' });
    expect(() => selectPlatform(index, 'linux/s390x')).toThrow(
      expect.objectContaining({
        code: 'NOT_FOUND',
        message: expect.stringContaining('linux/s390x'),
        hint: 'there is linux/amd64, linux/arm/v7',
      }),
    );
    expect(() => selectPlatform(indexOf(undefined, undefined), 'linux/amd64')).toThrow(
      'no image for linux/amd64',
    );
  });

  it('takes the ordinary or the Nydus one of a merged index, as asked', () => {
    const merged = parseManifest(golden('merged-index.raw'), 'golden') as Index;
    expect(selectPlatform(merged, 'linux/amd64').size).toBe(1117);
    expect(selectPlatform(merged, 'linux/amd64', { prefer: 'nydus' }).size).toBe(1479);
    const old = indexOf(linux('amd64'), { ...linux('amd64'), 'os.features': ['nydus.remoteimage.v1'] });
    expect(selectPlatform(old, 'linux/amd64', { prefer: 'nydus' }).size).toBe(1);
    expect(selectPlatform(indexOf(linux('amd64')), 'linux/amd64', { prefer: 'nydus' }).size).toBe(0);
  });
});
