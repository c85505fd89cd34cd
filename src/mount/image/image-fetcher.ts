import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { isRafterError, messageOf } from '../../errors.js';
import { useBlob } from '../../image/asking-others.js';
import { type BootstrapLayer, unpackBootstrapLayer } from '../../image/bootstrap-layer.js';
import { mapNameOf, parseSuppliedMap, readStoredMap } from '../../image/chunk-map.js';
import type { Descriptor } from '../../image/descriptor.js';
import { parseManifest } from '../../image/manifest.js';
import type { ImageSource } from '../../image/source.js';
import { BlobMeta } from '../../rafs/blob-meta.js';
import type { RafsBlob } from '../../rafs/bootstrap.js';
import type { ImageStore } from './image-store.js';
import { keepingCopy } from './keeping-copy.js';

export type ImageFetcher = ReturnType<typeof createImageFetcher>;

export interface FetcherOptions {
  source: ImageSource;
  store: ImageStore;
  signal?: AbortSignal | undefined;
}

/** Reads what an image consists of from the store, or from the source and then keeps it; counts what was downloaded. */
export function createImageFetcher({ source, store, signal }: FetcherOptions) {
  let downloaded = 0;
  const warnings: string[] = [];
  const contents = new Set<string>();
  const maps = new Set<string>();

  const notes: Promise<void>[] = [];
  const warn = (error: unknown) => {
    warnings.push(`what the image needs was not noted: ${messageOf(error)}`);
  };

  async function readManifest(descriptor: Descriptor): Promise<Buffer> {
    contents.add(descriptor.digest);
    const kept = await store.readBlob(descriptor);
    if (kept !== undefined) return kept;
    const bytes = await source.readManifest(descriptor, signal);
    downloaded += bytes.length;
    await keep(descriptor, bytes);
    return bytes;
  }

  /** From the source, and kept when it was right. */
  function fetched<T>(descriptor: Descriptor, use: (content: Readable) => Promise<T>): Promise<T> {
    const useAndKeep = (bytes: Readable) => {
      downloaded += descriptor.size;
      const copied = keepingCopy(bytes, { descriptor, store, onError: warn });
      return use(Readable.from(copied, { objectMode: false }));
    };
    return useBlob(source, descriptor, { signal, use: useAndKeep });
  }

  async function keep(descriptor: Descriptor, bytes: Buffer): Promise<void> {
    await store.writeBlob(descriptor, Readable.from([bytes], { objectMode: false }));
  }

  /** Reads a kept blob, or fetches it; if it turns out to be damaged, fetches it again, once. */
  async function reading<T>(descriptor: Descriptor, use: (content: Readable) => Promise<T>): Promise<T> {
    contents.add(descriptor.digest);
    const kept = await store.openBlob(descriptor);
    try {
      return kept === undefined ? await fetched(descriptor, use) : await use(kept);
    } catch (error) {
      // Damage may show in what it decompresses to before its digest is known.
      if (!isRafterError(error, 'DIGEST_MISMATCH', 'TRUNCATED', 'MALFORMED')) throw error;
      await store.removeBlob(descriptor);
      return fetched(descriptor, use);
    }
  }

  async function storedMap(blob: RafsBlob, descriptor: Descriptor): Promise<BlobMeta> {
    const name = mapNameOf(blob);
    maps.add(name);
    const kept = await store.readMap(name);
    if (kept !== undefined) {
      try {
        return BlobMeta.parseStored(kept, blob);
      } catch (error) {
        if (!isRafterError(error)) throw error;
        await store.removeMap(name);
      }
    }
    const onBytes = (count: number) => {
      downloaded += count;
    };
    const { bytes, map } = await readStoredMap(source, { descriptor, blob, signal, onBytes });
    await store.writeMap(name, bytes);
    return map;
  }

  return {
    warnings,
    /** Takes a note that is being written. One that fails is a warning: a full disk must not keep an image from being mounted. */
    noted(writing: Promise<void>) {
      notes.push(writing.catch(warn));
    },
    /** Resolves when all of them are on the disk, or have failed. */
    async allNoted() {
      await Promise.all(notes);
    },
    downloaded: () => downloaded,
    /** Digests of the contents that were asked for. */
    contents,
    /** Names of the chunk maps that were asked for. */
    maps,
    manifest: async (descriptor: Descriptor) =>
      parseManifest(
        await readManifest(descriptor),
        `${source.name}: ${descriptor.digest}`,
        descriptor.mediaType,
      ),
    blob: (descriptor: Descriptor) => reading(descriptor, buffer),
    bootstrapLayer: (descriptor: Descriptor): Promise<BootstrapLayer> =>
      reading(descriptor, (content) => unpackBootstrapLayer(content, `${source.name}: bootstrap layer`)),
    map: async (blob: RafsBlob, descriptor: Descriptor, file: Buffer | undefined) =>
      (file && parseSuppliedMap(file, blob)) ?? storedMap(blob, descriptor),
  };
}
