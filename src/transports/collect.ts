import { RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import { type Index, MAX_INDEX_ENTRIES, type Manifest, parseManifest } from '../image/manifest.js';
import { isIndexType, isManifestType, isNondistributable } from '../image/media-types.js';
import { isNydusManifest } from '../image/nydus-manifest.js';
import { referredLayers } from '../image/referred-layers.js';
import type { ImageSource } from '../image/source.js';
import type { ImageKind } from '../image/target.js';

/** How deep indexes may stand in indexes. */
const MAX_INDEX_DEPTH = 8;
/** Most manifests that one copy takes along: an index of the largest kind and all in it. */
const MAX_MANIFESTS = MAX_INDEX_ENTRIES + 1;

/** A manifest or index that is to be copied. */
export interface Document {
  descriptor: Descriptor;
  kind: ImageKind;
  manifest: Manifest | Index;
  bytes: Buffer;
}

/** What is found of an image. */
export interface Collector {
  /** Members before their index. */
  readonly documents: readonly Document[];
  /** Every blob that they refer to, once. */
  readonly blobs: ReadonlyMap<Digest, Descriptor>;
  /** Adds what a reference names, which has to be a manifest or index, and all below it. */
  addNamed(descriptor: Descriptor): Promise<void>;
  /** Adds a member of an index, which may be anything, and all below it. */
  addMember(descriptor: Descriptor): Promise<void>;
}

/** Finds what has to be copied with manifests of `source`. Each is read once; LIMIT_EXCEEDED for too many, or too deep a nest of indexes. */
export function collector(source: ImageSource, signal: AbortSignal | undefined): Collector {
  const visited = new Set<Digest>();
  const documents: Document[] = [];
  const blobs = new Map<Digest, Descriptor>();
  async function visit(descriptor: Descriptor, depth: number): Promise<void> {
    if (visited.has(descriptor.digest)) return;
    visited.add(descriptor.digest);
    const name = `${source.name}: ${descriptor.digest}`;
    if (depth > MAX_INDEX_DEPTH) {
      throw new RafterError('LIMIT_EXCEEDED', `${name}: indexes stand more than ${MAX_INDEX_DEPTH} deep`);
    }
    if (visited.size > MAX_MANIFESTS) {
      throw new RafterError('LIMIT_EXCEEDED', `${source.name}: more than ${MAX_MANIFESTS} manifests`);
    }
    const bytes = await source.readManifest(descriptor, signal);
    const manifest = parseManifest(bytes, name, descriptor.mediaType || undefined);
    if (manifest.kind === 'index') {
      for (const member of manifest.manifests) await visitMember(member, depth + 1);
    } else {
      addBlob(manifest.config);
      for (const layer of manifest.layers) addBlob(layer);
      for (const layer of await referredLayers(source, manifest, signal)) addBlob(layer);
    }
    const { mediaType } = manifest;
    documents.push({
      descriptor: { ...descriptor, mediaType },
      kind: kindOf(manifest),
      manifest,
      bytes,
    });
  }
  async function visitMember(member: Descriptor, depth: number): Promise<void> {
    if (isManifestType(member.mediaType) || isIndexType(member.mediaType)) await visit(member, depth);
    else addBlob(member);
  }
  function addBlob(blob: Descriptor): void {
    if (isNondistributable(blob.mediaType)) return;
    blobs.set(blob.digest, blob);
  }
  return {
    documents,
    blobs,
    addNamed: (descriptor) => visit(descriptor, 0),
    addMember: (descriptor) => visitMember(descriptor, 0),
  };
}

function kindOf(manifest: Manifest | Index): ImageKind {
  if (manifest.kind === 'index') return 'index';
  return isNydusManifest(manifest) ? 'nydus' : 'image';
}
