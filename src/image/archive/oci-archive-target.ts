import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RafterError } from '../../errors.js';
import { blobDirectories, LAYOUT_INDEX, LAYOUT_MARKER } from '../layout/layout-files.js';
import { formatReference, type LayoutReference } from '../reference.js';
import type { ImageTarget } from '../target.js';
import { archiveTarget } from './archive-target.js';
import { writeArchive } from './archive-writer.js';

/** A tar of an OCI image layout as target; its bytes depend on the image and the tag alone. See `archiveTarget`. */
export function ociArchiveTarget(reference: LayoutReference): ImageTarget {
  const { path, tag, digest } = reference;
  const name = formatReference(reference);
  if (digest !== undefined) {
    throw new RafterError('USAGE', `${name}: a target is named by a tag, not by a digest`);
  }
  return archiveTarget({
    name,
    path,
    tag,
    publish: ({ layoutDir }, place) =>
      writeArchive(place, async (writer) => {
        const add = (file: string) =>
          writer.addFile(file, createReadStream(join(layoutDir, file), { highWaterMark: 1 << 20 }));
        await writer.addDirectory('blobs');
        for (const blobs of await blobDirectories(layoutDir)) {
          await writer.addDirectory(blobs);
          for (const hex of (await readdir(join(layoutDir, blobs))).sort()) await add(`${blobs}/${hex}`);
        }
        await add(LAYOUT_INDEX);
        await add(LAYOUT_MARKER);
      }),
  });
}
