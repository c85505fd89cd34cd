import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { writeLayerImage } from '../support/layer-image.js';
import { oddLayers } from '../support/odd-image.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

describe.skipIf(missingPrograms('docker-registry'))('an image that was converted before', () => {
  let rafter: CommandLine;
  let registry: TestRegistry;
  let source: string;

  beforeAll(async () => {
    rafter = createCommandLine();
    registry = await startRegistry();
    source = `${registry.host}/odd:source`;
    await writeLayerImage(join(rafter.dir, 'layout'), 'source', oddLayers);
    await rafter.ok('copy', `oci:${join(rafter.dir, 'layout')}:source`, source);
  });

  afterAll(async () => {
    await registry?.stop();
    expect(await rafter?.remove()).toEqual([]);
  });

  /** Converts to `tag`; with the blobs that were read and sent. */
  async function convert(tag: string, ...options: string[]) {
    registry.requests.length = 0;
    const target = `${registry.host}/${tag}`;
    const { stdout } = await rafter.ok('convert', '--json', ...options, source, target);
    const blobs = registry.requests.filter(({ path }) => path.includes('/blobs/'));
    return {
      summary: JSON.parse(stdout),
      read: blobs.filter(({ method }) => method === 'GET').length,
      sent: blobs.filter(({ method }) => method === 'PUT').length,
    };
  }

  it('is neither read nor sent again, and stays the same', async () => {
    const first = await convert('odd:one');
    expect(first.summary.reusedLayers).toBe(0);
    expect(first.read).toBe(4);
    const again = await convert('odd:two');
    expect(again.summary.reusedLayers).toBe(3);
    expect(again).toMatchObject({ read: 1, sent: 0 });
    expect(again.summary.target).toEqual(first.summary.target);
  });

  it('is read when asked to, and for a repository that has nothing of it', async () => {
    const anew = await convert('odd:three', '--no-cache');
    expect(anew).toMatchObject({ read: 4, sent: 0, summary: { reusedLayers: 0 } });
    const elsewhere = await convert('elsewhere:one');
    expect(elsewhere.read).toBe(4);
    expect(elsewhere.sent).toBeGreaterThan(2);
    expect(elsewhere.summary.target).toEqual(anew.summary.target);
  });
});
