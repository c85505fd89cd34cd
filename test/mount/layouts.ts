import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { putTogether } from '../support/nydus-layout.js';
import { golden, goldenBlobFile, goldenBootstrap } from './golden.js';

/** An image that nydusify wrote, in fixtures/golden/oci. */
export function goldenLayout(name: string): LayoutSource {
  return new LayoutSource({ transport: 'oci', path: join(golden, 'oci', name) });
}

/** Copies the image that nydusify wrote with `--oci-ref` to `path`, with the ordinary layers that it refers to. */
export function writeReferenceLayout(path: string): LayoutSource {
  for (const name of ['tiny-src', 'tiny-ociref'])
    cpSync(join(golden, 'oci', name), path, { recursive: true });
  return new LayoutSource({ transport: 'oci', path });
}

/**
 * Writes the golden image `name` (`full`, `small`, ...) as an OCI layout at `path`, tag `latest`, without `.blob.meta` files.
 * Returns the paths of its data blobs in the layout.
 */
export async function writeGoldenLayout(name: string, path: string): Promise<string[]> {
  const blobs = goldenBootstrap(name).blobs.map(({ id }) => readFileSync(goldenBlobFile(id)));
  const bootstrap = readFileSync(join(golden, `v6/${name}.boot`));
  return putTogether({ bootstrap, blobs }, { path, tag: 'latest' });
}
