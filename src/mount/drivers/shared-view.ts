import type { BlobCache } from '../../cache/blob-cache.js';
import { type SharedBlob, TrustedReader } from '../../cache/storage/shared-trust.js';
import type { ReaderFileSystem } from '../../fuse/device-reader.js';
import { parseBootstrap } from '../../rafs/bootstrap.js';
import { type NydusImage, treeOf } from '../image/nydus-image.js';
import { type SharedTrace, TraceMemory } from '../trace/trace-memory.js';
import { tracedReader } from '../trace/trace-reader.js';
import { createImageView } from './image-view.js';

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
  /** Where reads are noted, if the mount is traced. */
  trace: SharedTrace | undefined;
}

/** Describes `image`, whose blobs are read through `blobs` and whose reads are noted in `trace`, to the reading thread. */
export function describeView(
  image: NydusImage,
  blobs: readonly BlobCache[],
  trace: SharedTrace | undefined,
): SharedView {
  const { bootstrap, bytes } = treeOf(image);
  return {
    kind: 'image',
    name: bootstrap.name,
    bootstrap: bytes,
    blobs: blobs.map((blob) => blob.share()),
    trace,
  };
}

/** The file system that a description means, in the reading thread. */
export function openSharedView({ name, bootstrap, blobs, trace }: SharedView): ReaderFileSystem {
  const readers = blobs.map((blob) => (blob === undefined ? undefined : new TrustedReader(blob)));
  const notHere = async () => {
    throw new Error('only what is local can be read in this thread');
  };
  const memory = trace && new TraceMemory(trace);
  const fs = createImageView({
    bootstrap: parseBootstrap(Buffer.from(bootstrap), name),
    blobs: readers.map((reader, blob) =>
      tracedReader(
        { read: notHere, readLocal: (offset, target) => reader?.readLocal(offset, target) ?? false },
        memory && { memory, blob },
      ),
    ),
  });
  return {
    fs,
    close: () => {
      for (const reader of readers) reader?.close();
    },
  };
}
