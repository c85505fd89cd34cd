import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { PackPool } from '../../src/codec/pack-pool.js';
import { openLayerTar } from '../../src/convert/layer-tar.js';
import type { Digest } from '../../src/image/descriptor.js';
import type { ImageSource } from '../../src/image/source.js';

it('a layer that comes when its conversion has failed already is let go', async () => {
  const pool = new PackPool({ threads: 1 });
  const stream = new Readable({ read() {} });
  let arrive = (_: Readable) => {};
  const source = {
    openBlob: () =>
      new Promise<Readable>((resolve) => {
        arrive = resolve;
      }),
  } as unknown as ImageSource;
  const digest: Digest = `sha256:${'0'.repeat(64)}`;
  const descriptor = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 10 };
  const opening = openLayerTar(
    { descriptor, diffId: digest, name: 'layer 2' },
    { source, pool, signal: undefined },
  );
  await pool.close();
  arrive(stream);
  await expect(opening).rejects.toThrow('have ended');
  expect(stream.destroyed).toBe(true);
});
