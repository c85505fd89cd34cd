import { decompressLayer } from '../../codec/decompress-stream.js';
import { ociDigest } from '../../codec/digest.js';
import { RafterError } from '../../errors.js';
import { MAX_CONFIG_SIZE, parseImageConfig } from '../config.js';
import { type Descriptor, type Digest, hasherFor, hexOf } from '../descriptor.js';
import { parseManifest } from '../manifest.js';
import { isNydusManifest } from '../nydus-manifest.js';
import { type DockerArchiveReference, formatReference } from '../reference.js';
import { type ImageSource, readSmallBlob } from '../source.js';
import type { ImageKind, ImageTarget } from '../target.js';
import { archiveTarget } from './archive-target.js';
import { type ArchiveWriter, writeArchive } from './archive-writer.js';
import { buildDockerManifest, canonicalName, DOCKER_MANIFEST_FILE } from './docker-manifest.js';

/**
 * An archive as `docker save` writes it and `docker load` reads it, with one ordinary image. Layers are stored unpacked,
 * under their diff ids, which they are checked against. See `archiveTarget`.
 */
export function dockerArchiveTarget(reference: DockerArchiveReference): ImageTarget {
  const { path, tag } = reference;
  const name = formatReference(reference);
  if (tag?.startsWith('@')) {
    throw new RafterError('USAGE', `${name}: a target is named by a tag, not by a place in the archive`);
  }
  const checkKind = (kind: ImageKind) => refuse(kind, name);
  return archiveTarget({
    name,
    path,
    checkKind,
    publish: async ({ source }, place) => {
      const repoTags = tag === undefined ? [] : [canonicalName(tag)];
      await writeArchive(place, (writer) => writeImage(source, { name, repoTags, writer }));
    },
  });
}

function refuse(kind: ImageKind, name: string): void {
  if (kind === 'nydus') {
    throw new RafterError('UNSUPPORTED', `${name}: a docker-archive cannot hold a Nydus image`, {
      hint: 'write it to oci-archive:FILE[:TAG], or make an ordinary image of it with rafter export',
    });
  }
  if (kind === 'referrer') {
    throw new RafterError('UNSUPPORTED', `${name}: a docker-archive cannot hold what refers to an image`, {
      hint: 'write it to oci-archive:FILE[:TAG], or leave out --referrers',
    });
  }
  if (kind === 'index') {
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: a docker-archive holds one image, not an index of several`,
      {
        hint: 'choose one with --platform OS/ARCHITECTURE, or write oci-archive:FILE[:TAG]',
      },
    );
  }
}

async function writeImage(
  source: ImageSource,
  { name, repoTags, writer }: { name: string; repoTags: string[]; writer: ArchiveWriter },
): Promise<void> {
  const top = await source.resolve();
  const manifest = parseManifest(await source.readManifest(top), name, top.mediaType);
  if (manifest.kind === 'index') return refuse('index', name);
  if (isNydusManifest(manifest)) return refuse('nydus', name);
  const configBytes = await readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE });
  const { diffIds } = parseImageConfig(configBytes, `${name}: configuration`);
  if (diffIds.length !== manifest.layers.length) {
    const count = `${diffIds.length} diff ids for ${manifest.layers.length} layers`;
    throw new RafterError('MALFORMED', `${name}: the configuration has ${count}`);
  }
  const written = new Set<Digest>();
  for (const [i, layer] of manifest.layers.entries()) {
    const diffId = diffIds[i]!;
    if (written.has(diffId)) continue;
    written.add(diffId);
    const what = `${name}: layer ${i + 1} (${layer.digest})`;
    await writer.addFile(layerFile(diffId), unpacked(source, layer, { diffId, what }));
  }
  const config = `${hexOf(ociDigest(configBytes))}.json`;
  await writer.addFile(config, configBytes);
  const layers = diffIds.map(layerFile);
  await writer.addFile(DOCKER_MANIFEST_FILE, buildDockerManifest({ config, layers, repoTags }));
}

/** A SHA-512 does not fit into a tar's header: half of it says as much as a SHA-256. */
function layerFile(diffId: Digest): string {
  return `${hexOf(diffId).slice(0, 64)}.tar`;
}

/** The layer's tar. Ends with DIGEST_MISMATCH if it is not what the configuration says. */
async function* unpacked(
  source: ImageSource,
  layer: Descriptor,
  { diffId, what }: { diffId: Digest; what: string },
): AsyncGenerator<Buffer> {
  const { tar } = await decompressLayer(await source.openBlob(layer), what);
  const hash = hasherFor(diffId);
  for await (const piece of tar as AsyncIterable<Buffer>) {
    hash.update(piece);
    yield piece;
  }
  const found = hash.digest('hex');
  if (found !== hexOf(diffId)) {
    throw new RafterError('DIGEST_MISMATCH', `${what}: its tar has digest ${found}, expected ${diffId}`);
  }
}
