import type { BlobCache } from '../cache/blob-cache.js';
import { type SharedBlob, TrustedReader } from '../cache/shared-trust.js';
import type { ReaderFileSystem } from '../fuse/device-reader.js';
import { parseBootstrap } from '../rafs/bootstrap.js';
import { createImageView } from './image-view.js';
import type { NydusImage } from './nydus-image.js';

/** What the reading thread is told about a mount. */
export type ReaderSpec = SharedView | { kind: 'blobs' };

/** An image as the reading thread needs it: metadata and whatever of its data is local, in shared memory. */
export interface SharedView {
  kind: 'image';
  /** For messages. */
  name: string;
  bootstrap: SharedArrayBuffer;
  /** In the order of the bootstrap's blob table; nothing for a blob that is not kept on disk. */
  blobs: (SharedBlob | undefined)[];
}

/** Describes `image`, whose blobs are read through `blobs`, to the reading thread. */
export function describeView(image: NydusImage, blobs: readonly BlobCache[]): SharedView {
  return {
    kind: 'image',
    name: image.bootstrap.name,
    bootstrap: image.bootstrapBytes,
    blobs: blobs.map((blob) => blob.share()),
  };
}

/** The file system that a description means, in the reading thread. */
export function openSharedView({ name, bootstrap, blobs }: SharedView): ReaderFileSystem {
  const readers = blobs.map((blob) => (blob === undefined ? undefined : new TrustedReader(blob)));
  const notHere = async () => {
    throw new Error('only what is local can be read in this thread');
  };
  const fs = createImageView({
    bootstrap: parseBootstrap(Buffer.from(bootstrap), name),
    blobs: readers.map((reader) => ({
      read: notHere,
      readLocal: (offset, target) => reader?.readLocal(offset, target) ?? false,
    })),
  });
  return {
    fs,
    close: () => {
      for (const reader of readers) reader?.close();
    },
  };
}
