import { sha256 } from '../codec/digest.js';
import type { Digest } from '../image/descriptor.js';
import { BlobRef } from '../rafs/blob-ref.js';
import type { FileInode } from '../rafs/tree.js';
import type { ChunkDictionary } from './chunk-dictionary.js';
import type { LayerCache } from './layer-cache.js';
import {
  convertLayer,
  type ImageUnderConstruction,
  type LayerInput,
  type LayerResult,
  type StoredBlob,
} from './layer-converter.js';
import { type LayerRecord, LayerRecorder, readLayerRecord } from './layer-record.js';
import { LayerOverlay } from './overlay.js';
import type { TarEntryHead } from './tar-entry.js';

/** Raise it when the same layer and options come to give other bytes, or when records get another form. */
const FORMAT = 3;

/**
 * Converts the layers of one image, lowest first, and leaves out those whose records are in the cache and whose blobs the
 * target has or an interrupted conversion left. As chunks are shared across layers, what becomes of a layer depends on those below it: a record counts only
 * for the same layers, in the same order, with the same options and dictionaries. The result is the same with and without records.
 */
export function createLayerConverter(
  image: ImageUnderConstruction,
  { cache, dictionary }: { cache: LayerCache | undefined; dictionary: ChunkDictionary },
) {
  const below: Digest[] = [];
  const shared = new Map(dictionary.blobs.map(({ ref }) => [ref.id!, ref]));
  const blobs = new Map(shared);

  /** As `convertLayer`; `reused` if the layer was not read. */
  return async (layer: LayerInput): Promise<LayerResult & { reused: boolean }> => {
    below.push(layer.descriptor.digest, layer.diffId);
    const key = cache && keyOf(image, dictionary, below);
    const known = key === undefined ? undefined : await findRecord(image, { cache: cache!, key, blobs });
    const reused = known !== undefined;
    let result: LayerResult;
    if (reused) result = replay(image, layer, { record: known, blobs, shared });
    else if (key === undefined) result = await convertLayer(image, layer);
    else {
      const recorder = new LayerRecorder();
      const onEntry = (head: TarEntryHead, file: FileInode | undefined) => recorder.add(head, file);
      const onStored = (blob: StoredBlob) => cache!.blobs.keep(image.target, blob);
      result = await convertLayer(image, { ...layer, onEntry, onStored });
      const { blob, ...facts } = result;
      const kept = blob && { digest: blob.digest, size: blob.size, fields: blob.ref.fields, meta: blob.meta };
      await cache!.write(key, recorder.finish({ ...facts, blob: kept }, image.contents?.facts));
    }
    if (result.blob) blobs.set(result.blob.ref.id!, result.blob.ref);
    return { ...result, reused };
  };
}

function keyOf(
  { options, contents }: ImageUnderConstruction,
  { manifests }: ChunkDictionary,
  layers: Digest[],
): string {
  const { chunkSize, batchSize, compressor, digester, level, lossy } = options;
  const shape = { chunkSize, batchSize, compressor, digester, level, lossy, watched: contents?.interpreters };
  return sha256(
    Buffer.from(JSON.stringify([FORMAT, process.versions.v8, shape, manifests, layers])),
  ).toString('hex');
}

/** The record, if all that it builds on is there: the blobs of lower layers, and its own at the target. */
async function findRecord(
  { target, options }: ImageUnderConstruction,
  { cache, key, blobs }: { cache: LayerCache; key: string; blobs: Map<string, BlobRef> },
): Promise<LayerRecord | undefined> {
  const bytes = await cache.read(key);
  const record = bytes && readLayerRecord(bytes);
  if (record === undefined) return undefined;
  const own = record.blob?.fields.id;
  if (!record.blobIds.every((id) => id === own || blobs.has(id))) return undefined;
  const { blob } = record;
  if (!blob || (await target.hasBlob(blob, options.signal))) return record;
  return (await cache.blobs.restore(target, blob, options.signal)) ? record : undefined;
}

/** Applies the entries of a record to the tree, as converting the layer did. */
function replay(
  image: ImageUnderConstruction,
  { name }: LayerInput,
  { record, blobs, shared }: { record: LayerRecord } & Record<'blobs' | 'shared', Map<string, BlobRef>>,
): LayerResult {
  const { blob, entries, tarBytes, stats } = record;
  const ref = blob && BlobRef.existing(blob.fields);
  const chunks = record.readChunks(record.blobIds.map((id) => (id === ref?.id ? ref : blobs.get(id)!)));
  for (const chunk of chunks.all) {
    if (chunk.blob === ref || shared.has(chunk.blob.id!)) image.index.add(chunk);
  }
  const overlay = new LayerOverlay(image.root, { layer: name, losses: image.losses });
  const contents = new Map(record.contents);
  let next = 0;
  for (const head of record.heads()) {
    const file = overlay.apply(head);
    if (!file) continue;
    const facts = contents.get(next);
    if (facts) image.contents?.facts.set(file, facts);
    file.chunks = chunks.files[next++]!;
  }
  overlay.finish();
  const found = blob && ref && { ref, digest: blob.digest, size: blob.size, meta: blob.meta };
  return { blob: found, entries, tarBytes, stats };
}
