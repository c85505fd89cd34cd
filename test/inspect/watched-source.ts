import type { ImageSource } from '../../src/image/source.js';

/** A source that notes what is asked of it. */
export function watchSource(source: ImageSource): { source: ImageSource; asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    source: {
      name: source.name,
      resolve: (signal) => {
        asked.push('resolve');
        return source.resolve(signal);
      },
      readManifest: (descriptor, signal) => {
        asked.push('manifest');
        return source.readManifest(descriptor, signal);
      },
      openBlob: (descriptor, signal) => {
        asked.push('blob');
        return source.openBlob(descriptor, signal);
      },
      readBlobRange: (descriptor, offset, length, signal) => {
        asked.push(`range ${length}`);
        return source.readBlobRange(descriptor, offset, length, signal);
      },
      close: () => source.close(),
    },
  };
}
