import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RegistrySource } from '../../src/registry/source.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';

let registry: FakeRegistry;
let source: RegistrySource;
beforeEach(async () => {
  registry = await startFakeRegistry();
  source = new RegistrySource(registry.reference('team/app:1'), { dockerConfig: '/nonexistent' });
});
afterEach(async () => {
  await source.close();
  await registry.stop();
});

it.each([0, 1000])('a blob of %i bytes in its descriptor is not fetched', async (size) => {
  const bytes = Buffer.alloc(size, 'x');
  const descriptor = { ...registry.addBlob(bytes), data: bytes.toString('base64') };
  expect(await buffer(await source.openBlob(descriptor))).toEqual(bytes);
  expect(registry.requests).toEqual([]);
});

it('a descriptor with other bytes in it than its digest says is not believed', async () => {
  const bytes = Buffer.alloc(1000, 'x');
  const descriptor = { ...registry.addBlob(bytes), data: Buffer.alloc(1000, 'y').toString('base64') };
  expect(await buffer(await source.openBlob(descriptor))).toEqual(bytes);
  expect(registry.requests).toHaveLength(1);
});
