import { expect, it } from 'vitest';
import { OCI_INDEX } from '../../src/image/media-types.js';
import { RegistrySource } from '../../src/registry/source.js';
import { startFakeRegistry } from '../support/fake-registry.js';

it('a session tells what the registry wants its users to know, once', async () => {
  const registry = await startFakeRegistry();
  const told: string[] = [];
  const source = new RegistrySource(registry.reference('team/app:1'), {
    dockerConfig: '/nonexistent',
    onWarning: (text) => told.push(text),
  });
  try {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }));
    registry.manifests.set('1', { mediaType: OCI_INDEX, bytes });
    registry.traits.headers = { warning: '299 - "this registry moves on Friday"' };
    await source.resolve();
    await source.resolve();
    expect(told).toEqual([`${registry.host}: this registry moves on Friday`]);
  } finally {
    await source.close();
    await registry.stop();
  }
});
