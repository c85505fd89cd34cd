import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CacheStore } from '../../../src/cache/store.js';
import { MountTable } from '../../../src/mount/daemon/mount-table.js';
import type { ActiveMount } from '../../../src/mount/drivers/active-mount.js';
import type { Drivers } from '../../../src/mount/drivers/drivers.js';
import { openImageStore } from '../../../src/mount/image/image-store.js';
import { OpenedImages } from '../../../src/mount/image/opened-images.js';
import { KeptImages } from '../../../src/mount/kept-images.js';
import { createMeters } from '../../../src/mount/meters.js';
import type { SupervisorLink } from '../../../src/mount/supervisor/supervisor-link.js';
import type { WritableTrees } from '../../../src/mount/writable-trees.js';

const reference = `oci:${resolve(import.meta.dirname, '../../../fixtures/golden/oci/tiny-nydus')}`;

let dir: string;
let cache: CacheStore;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-table-'));
  mkdirSync(join(dir, 'mnt'));
  cache = await CacheStore.open(join(dir, 'cache'));
});
afterEach(async () => {
  await cache.close();
  rmSync(dir, { recursive: true });
});

interface Table {
  table: MountTable;
  mounted: Set<string>;
  kept: KeptImages;
  /** What the driver was asked for. */
  calls: string[];
}

/** A table whose driver mounts nothing but notes what it should; `onMount` is called in the middle of it. */
function tableWith(onMount: () => void): Table {
  const mounted = new Set<string>();
  const calls: string[] = [];
  const mountAt = (mountpoint: string): ActiveMount => {
    mounted.add(mountpoint);
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const unmount = async () => {
      mounted.delete(mountpoint);
      calls.push('unmount');
      end();
    };
    const keep = async () => {
      mounted.delete(mountpoint);
      calls.push('keep');
      let isMounted = false;
      return {
        mountAt: (place: string) => {
          isMounted = true;
          calls.push('mount again');
          return mountAt(place);
        },
        release: async () => {
          if (!isMounted) calls.push('release');
        },
      };
    };
    return { ended, unmount, keep };
  };
  const drivers: Pick<Drivers, 'mount' | 'prepare' | 'lookAhead'> = {
    lookAhead() {},
    prepare: () => undefined,
    async mount(_image, _blobs, { mountpoint }) {
      calls.push('mount');
      onMount();
      return { active: mountAt(mountpoint), choice: { driver: 'fuse' } };
    },
  };
  const kept = new KeptImages({ error() {} });
  const services = {
    store: openImageStore(join(dir, 'images')),
    opened: new OpenedImages(),
    kept,
    cache,
    tempDir: dir,
    log: { info() {}, warn() {}, error() {} },
    drivers: drivers as Drivers,
    supervisor: { save: async () => {} } as unknown as SupervisorLink,
    meters: createMeters(),
    writable: {} as WritableTrees,
    traceDir: dir,
  };
  return { table: new MountTable(services, join(dir, 'state.json')), mounted, kept, calls };
}

it('keeps what was mounted for a client that waits for the answer', async () => {
  const { table, mounted } = tableWith(() => {});
  const mountpoint = join(dir, 'mnt');
  const { id } = await table.mount({ reference, mountpoint }, new AbortController().signal);
  expect(table.list().map((info) => info.id)).toEqual([id]);
  await table.unmount({ id });
  expect([...mounted]).toEqual([]);
});

it('unmounts again when the client has gone while its image was being mounted', async () => {
  const client = new AbortController();
  const { table, mounted } = tableWith(() => client.abort());
  const mounting = table.mount({ reference, mountpoint: join(dir, 'mnt') }, client.signal);
  await expect(mounting).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect([...mounted]).toEqual([]);
  expect(table.list()).toEqual([]);
  expect(table.busy).toBe(0);
});

describe('an image that will be wanted again', () => {
  const place = (name: string) => {
    mkdirSync(join(dir, name));
    return join(dir, name);
  };
  // As long as something is fetched ahead, nothing is kept.
  const again = { reference, reuse: true, prefetch: false };

  it('is kept when it is unmounted, and mounted again for the same request, with counters and id of its own', async () => {
    const { table, mounted, kept, calls } = tableWith(() => {});
    const first = await table.mount({ ...again, mountpoint: place('a'), requestId: '1' });
    await table.unmount({ id: first.id });
    expect([table.list(), table.busy, [...mounted], kept.size]).toEqual([[], 0, [], 1]);
    const second = await table.mount({ ...again, mountpoint: place('b'), requestId: '2' });
    expect(calls).toEqual(['mount', 'keep', 'mount again']);
    expect(second).toMatchObject({ digest: first.digest, mountpoint: join(dir, 'b'), config: first.config });
    expect(second.id).not.toBe(first.id);
    expect([...mounted]).toEqual([join(dir, 'b')]);
    expect(kept.size).toBe(0);
    // The same request once more is the same mount.
    const repeated = await table.mount({ ...again, mountpoint: join(dir, 'b'), requestId: '2' });
    expect(repeated.id).toBe(second.id);
    await table.unmount({ id: second.id });
    expect(kept.size).toBe(1);
    await kept.clear();
    expect(calls.slice(3)).toEqual(['keep', 'release']);
  });

  it('serves one mount at a time, and of two that were kept one stays', async () => {
    const { table, kept, calls } = tableWith(() => {});
    const first = await table.mount({ ...again, mountpoint: place('a') });
    const second = await table.mount({ ...again, mountpoint: place('b') });
    for (const { id } of [first, second]) await table.unmount({ id });
    expect(kept.size).toBe(1);
    await kept.clear();
    expect(calls).toEqual(['mount', 'mount', 'keep', 'keep', 'release', 'release']);
  });

  it('is mounted anew for another request, and for one that does not say so', async () => {
    const { table, calls } = tableWith(() => {});
    const { id } = await table.mount({ ...again, mountpoint: place('a') });
    await table.unmount({ id });
    await table.mount({ ...again, mountpoint: place('b'), readTimeout: 5 });
    await table.mount({ reference, mountpoint: place('c') });
    const access = { credentials: { username: 'other', password: 'x' } };
    await table.mount({ ...again, mountpoint: place('d'), access });
    expect(calls).toEqual(['mount', 'keep', 'mount', 'mount', 'mount']);
    await table.unmountAll();
  });

  it('is given up when the reference means something else by now', async () => {
    const { table, calls } = tableWith(() => {});
    const layout = join(dir, 'layout');
    cpSync(reference.slice('oci:'.length), layout, { recursive: true });
    const moving = { ...again, reference: `oci:${layout}:latest` };
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
    const name = (annotations: object) => {
      const manifests = index.manifests.map((one: object) => ({ ...one, annotations }));
      writeFileSync(join(layout, 'index.json'), JSON.stringify({ ...index, manifests }));
    };
    name({ 'org.opencontainers.image.ref.name': 'latest' });
    const { id } = await table.mount({ ...moving, mountpoint: place('a') });
    await table.unmount({ id });
    name({ 'org.opencontainers.image.ref.name': 'older' });
    const gone = table.mount({ ...moving, mountpoint: place('b') });
    await expect(gone).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(calls).toEqual(['mount', 'keep', 'release']);
    expect(table.busy).toBe(0);
  });

  it('is not kept when everything is unmounted', async () => {
    const { table, kept, calls } = tableWith(() => {});
    const { id } = await table.mount({ ...again, mountpoint: place('a') });
    await table.unmount({ id });
    await table.mount({ ...again, mountpoint: place('b'), readTimeout: 5 });
    await table.unmountAll();
    expect(kept.size).toBe(0);
    expect(calls).toEqual(['mount', 'keep', 'mount', 'unmount', 'release']);
  });
});
