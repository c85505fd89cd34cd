import { useRange } from '../image/asking-others.js';
import { findStartupLayer } from '../image/startup-layer.js';
import { checkTableSize, packReferenceOf, parsePackHead } from '../startup/read-pack.js';
import type { OpenImage } from './open-image.js';

/**
 * Which decoded bytes of its blobs an image's start-up pack has: for each blob, in blob table order, ranges that ascend. Of the pack only the
 * table is read. Undefined if the image has none; throws what is wrong with it.
 */
export async function readStartupRanges(
  { source, name, manifest, bootstrap }: Pick<OpenImage, 'source' | 'name' | 'manifest' | 'bootstrap'>,
  signal?: AbortSignal,
): Promise<{ start: number; end: number }[][] | undefined> {
  const layer = findStartupLayer(manifest, name);
  if (layer === undefined) return undefined;
  const reference = packReferenceOf(layer, name);
  checkTableSize(reference);
  const read = () => source.readBlobRange(layer.descriptor, 0, layer.tableSize, signal);
  const { blobs, pieces } = await useRange(source, read, (head) => parsePackHead(head, reference));
  const byId = new Map(bootstrap.blobs.map(({ id }) => [id, [] as { start: number; end: number }[]]));
  for (const { blob, offset, length } of pieces)
    byId.get(blobs[blob]!)?.push({ start: offset, end: offset + length });
  return bootstrap.blobs.map(({ id }) => byId.get(id)!.sort((a, b) => a.start - b.start));
}
