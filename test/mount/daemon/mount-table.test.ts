import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CacheStore } from '../../../src/cache/store.js';
import { MountTable } from '../../../src/mount/daemon/mount-table.js';
import type { Drivers } from '../../../src/mount/drivers/drivers.js';
import { openImageStore } from '../../../src/mount/image/image-store.js';
import { OpenedImages } from '../../../src/mount/image/opened-images.js';
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

/** A table whose driver mounts nothing but notes what it should; `onMount` is called in the middle of it. */
function tableWith(onMount: () => void): { table: MountTable; mounted: Set<string> } {
  const mounted = new Set<string>();
  const drivers: Pick<Drivers, 'mount' | 'prepare'> = {
    prepare: () => undefined,
    async mount(_image, _blobs, { mountpoint }) {
      mounted.add(mountpoint);
      onMount();
      let end = () => {};
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      const unmount = async () => {
        mounted.delete(mountpoint);
        end();
      };
      return { active: { ended, unmount }, choice: { driver: 'fuse' } };
    },
  };
  const services = {
    store: openImageStore(join(dir, 'images')),
    opened: new OpenedImages(),
    cache,
    tempDir: dir,
    log: { info() {}, warn() {}, error() {} },
    drivers: drivers as Drivers,
    supervisor: { save: async () => {} } as unknown as SupervisorLink,
    meters: createMeters(),
    writable: {} as WritableTrees,
    traceDir: dir,
  };
  return { table: new MountTable(services, join(dir, 'state.json')), mounted };
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
