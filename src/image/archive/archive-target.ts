import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LayoutSource } from '../layout/layout-source.js';
import { LayoutTarget } from '../layout/layout-target.js';
import { createStage, type Stage } from '../layout/stage.js';
import type { ImageKind, ImageTarget } from '../target.js';
import { archivePlace } from './archive-writer.js';

/** What differs between kinds of archives. */
export interface ArchiveFormat {
  /** The reference, for messages. */
  name: string;
  path: string;
  /** Tag of the image in the layout that is written first. */
  tag?: string | undefined;
  checkKind?: (kind: ImageKind) => void;
  /** Makes the archive `place` of the finished layout in `layoutDir`, whole or not at all. */
  publish(staged: { layoutDir: string; source: LayoutSource }, place: string): Promise<void>;
}

/**
 * An archive as target. The image is staged as an OCI layout beside the archive, because blobs come at the same time and a tar has
 * one after the other; `commit` makes the archive of it and renames, `abort` leaves no trace. An archive that is there is
 * replaced.
 */
export function archiveTarget(format: ArchiveFormat): ImageTarget {
  let staging: Promise<Staging> | undefined;
  let ended = false;
  const stage = () => {
    if (ended) throw new Error('an archive target was used after commit or abort');
    staging ??= openStaging(format);
    return staging;
  };
  const end = async () => {
    ended = true;
    const staged = await staging?.catch(() => undefined);
    if (staged === undefined) return;
    await staged.layout.abort();
    await rm(staged.stage.path, { recursive: true, force: true });
    staged.stage.release();
  };
  return {
    name: format.name,
    ...(format.checkKind && { checkKind: format.checkKind }),
    hasBlob: async (blob) => staging !== undefined && (await stage()).layout.hasBlob(blob),
    createBlob: async (signal, options) => (await stage()).layout.createBlob(signal, options),
    stagedFile: async (digest) => (await staging)?.layout.stagedFile(digest),
    putManifest: async (bytes, mediaType, options) =>
      (await stage()).layout.putManifest(bytes, mediaType, options),
    async commit() {
      if (ended) return;
      const { layout, layoutDir, place } = await stage();
      await layout.commit();
      const source = new LayoutSource({ transport: 'oci', path: layoutDir });
      await format.publish({ layoutDir, source }, place);
      await end();
    },
    async abort() {
      if (!ended) await end();
    },
  };
}

interface Staging {
  /** Everything is in here. */
  stage: Stage;
  layoutDir: string;
  layout: LayoutTarget;
  /** Of the archive. */
  place: string;
}

async function openStaging({ path, tag }: ArchiveFormat): Promise<Staging> {
  const place = await archivePlace(path);
  const stage = await createStage(dirname(place));
  const layoutDir = join(stage.path, 'layout');
  const layout = new LayoutTarget({ transport: 'oci', path: layoutDir, tag });
  return { stage, layoutDir, layout, place };
}
