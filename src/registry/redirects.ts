/** Blobs whose place is remembered at a time. */
const MAX_REMEMBERED = 1024;

/**
 * Where a registry sent us for its blobs: most hand out URLs of an object storage that are good for some minutes and save asking the
 * registry for each range. Nothing tells when they end, so whoever uses one has to go back to the registry if it fails.
 */
export interface Redirects {
  get(digest: string): URL | undefined;
  remember(digest: string, url: URL): void;
  forget(digest: string): void;
}

/** An empty memory; of more than MAX_REMEMBERED blobs the ones remembered longest ago go. */
export function createRedirects(): Redirects {
  const places = new Map<string, URL>();
  return {
    get: (digest) => places.get(digest),
    remember(digest, url) {
      places.delete(digest);
      places.set(digest, url);
      for (const oldest of places.keys()) {
        if (places.size <= MAX_REMEMBERED) break;
        places.delete(oldest);
      }
    },
    forget: (digest) => void places.delete(digest),
  };
}
