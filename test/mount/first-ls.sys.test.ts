import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { parseReference } from '../../src/image/reference.js';
import { openImage } from '../../src/inspect/open-image.js';
import { mountImage } from '../../src/mount/client/client.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { createPlace, type TestPlace } from './daemon-process.js';

const FILES = 300;

let registry: FakeRegistry;
let place: TestPlace;
let digests: { config: string; bootstrap: string };

beforeAll(async () => {
  registry = await startFakeRegistry();
  const layers = [0, 1, 2].map((layer) =>
    makeTar(
      Array.from({ length: FILES / 3 }, (_, i) => ({
        name: `layer${layer}/dir${i % 7}/file${i}`,
        data: `content ${layer} ${i}`.repeat(100),
        ...(i % 5 === 0 && { pax: [['SCHILY.xattr.user.some', `value ${i}`]] as [string, string][] }),
      })),
    ),
  );
  const layout = makeLayout(layers.map((tar) => ({ tar })));
  await convertImage({
    source: openSource(parseReference(`oci:${layout}:t`)),
    target: openTarget(parseReference(`${registry.host}/some:1`)),
    sourceReference: 'oci:some',
    platforms: ['linux/amd64'],
    options: { prefetch: [] },
  });
  const source = openSource(parseReference(`${registry.host}/some:1`));
  const { manifest } = await openImage(source, { platform: 'linux/amd64' });
  digests = { config: manifest.config.digest, bootstrap: manifest.layers.at(-1)!.digest };
  await source.close();
});
afterAll(() => registry?.stop());
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

it.each([
  { driver: 'erofs' },
  { driver: 'fuse', transport: 'device' },
  { driver: 'fuse', transport: 'libfuse' },
] as const)(
  'once the bootstrap is here, `ls -lR` of a fresh mount asks nobody: $driver $transport',
  async (how) => {
    registry.requests.length = 0;
    let served = 0;
    registry.intercept(new RegExp(`GET .*/blobs/${digests.bootstrap}`), (_, response, next) => {
      response.once('finish', () => {
        served = registry.requests.length;
      });
      next();
    });
    const mountpoint = await place.mountpoint('m');
    const request = { reference: `${registry.host}/some:1`, platform: 'linux/amd64', access: {} };
    await mountImage(place, { ...request, mountpoint, ...how });
    const { stdout } = await promisify(execFile)('ls', ['-lR', mountpoint]);
    expect(stdout.match(/file\d/g)).toHaveLength(FILES);
    expect(served).toBeGreaterThan(0);
    // The configuration is asked for beside the bootstrap, and so is a start-up profile, which nobody waits for.
    const isBeside = (url: string) =>
      url.endsWith(digests.config) || /\/referrers\/|\/manifests\/sha256-/.test(url);
    const later = registry.requests.slice(served).filter(({ url }) => !isBeside(url));
    expect(later.map(({ method, url }) => `${method} ${url}`)).toEqual([]);
    const blobs = registry.requests.filter(({ url }) => url.includes('/blobs/')).map(({ url }) => url);
    expect(blobs.map((url) => url.split('/').at(-1)).toSorted()).toEqual(Object.values(digests).toSorted());
  },
);
