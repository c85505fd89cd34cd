import { isRafterError, messageOf } from '../../errors.js';
import type { Descriptor } from '../../image/descriptor.js';
import { isDigest } from '../../image/digest.js';
import { parseManifest } from '../../image/manifest.js';
import type { ImageSource } from '../../image/source.js';
import type { ImageStore } from './image-store.js';

/** How long a source may take to resolve a reference whose last meaning is known, in milliseconds. */
const RESOLVE_PATIENCE = 5_000;

/** Connections for what a mount asks for when it knows the manifest: configuration, bootstrap, and start-up pack or first data. */
const SPARE_CONNECTIONS = 2;

export interface ResolveOptions {
  source: ImageSource;
  store: ImageStore;
  /** Canonical text of the reference. */
  reference: string;
  /** What it meant last, if the caller knows; default: what the store remembers. */
  last?: Descriptor;
  signal?: AbortSignal | undefined;
  /** Takes a sentence for the user. */
  onWarning: (text: string) => void;
}

/** What a reference means, and the note of that, which may still be on its way to the disk. */
export interface Resolved {
  descriptor: Descriptor;
  noted: Promise<void> | undefined;
}

/**
 * Asks the source what the reference means. Where an earlier answer is known, the source gets RESOLVE_PATIENCE to say so
 * again: a mount of an image that is here should not wait for a registry that is gone. Then the last known meaning counts, and a
 * warning says so.
 */
export async function resolveReference(options: ResolveOptions): Promise<Resolved> {
  const { source, store, reference, last, signal, onWarning } = options;
  const known = last ?? (await store.recallReference(reference)) ?? (await contentNamedBy(reference, store));
  // The answer leads to several requests at once.
  if (known === undefined) source.openSpares?.(SPARE_CONNECTIONS);
  const patience = known && AbortSignal.timeout(RESOLVE_PATIENCE);
  try {
    const descriptor = await source.resolve(joinSignals(signal, patience));
    const isNoted = last?.digest === descriptor.digest;
    return { descriptor, noted: isNoted ? undefined : store.rememberReference(reference, descriptor) };
  } catch (error) {
    if (known === undefined || signal?.aborted) throw error;
    if (!patience?.aborted && !isRafterError(error, 'UNAVAILABLE')) throw error;
    const reason = patience?.aborted
      ? `${source.name}: no answer within ${RESOLVE_PATIENCE / 1000} s`
      : messageOf(error);
    onWarning(`${reason}; using ${known.digest}, which ${reference} meant last`);
    return { descriptor: known, noted: undefined };
  }
}

/**
 * The manifest or index that a reference with a digest names, if the store has it, as from another reference: whatever is asked, a
 * digest means the same bytes.
 */
async function contentNamedBy(reference: string, store: ImageStore): Promise<Descriptor | undefined> {
  const digest = reference.slice(reference.lastIndexOf('@') + 1);
  const bytes = isDigest(digest) ? await store.readNamed(digest) : undefined;
  if (bytes === undefined) return undefined;
  try {
    return { digest, mediaType: parseManifest(bytes, reference).mediaType, size: bytes.length };
  } catch (error) {
    // The digest of a layer, say: it is for the source to answer.
    if (!isRafterError(error)) throw error;
    return undefined;
  }
}

function joinSignals(...signals: (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined);
  return given.length === 0 ? undefined : AbortSignal.any(given);
}
