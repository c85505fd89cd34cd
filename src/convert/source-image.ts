import { RafterError } from '../errors.js';
import { type ImageConfig, MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import type { Descriptor, Platform } from '../image/descriptor.js';
import { type Index, type Manifest, parseImageManifest, parseManifest } from '../image/manifest.js';
import { isNydusManifest } from '../image/nydus-manifest.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import { checkLayerType } from './layer-types.js';
import { type PlatformChoice, selectEntries } from './select-entries.js';

/** An image that can be converted. */
export interface SourceImage {
  /** Of the manifest, as an index lists it: with its platform. */
  entry: Descriptor;
  manifest: Manifest;
  config: ImageConfig;
}

/** What a reference names, as far as it is to be converted. */
export interface Source {
  /** Of the manifest or index that the reference names. */
  descriptor: Descriptor;
  /** The index, if that is what it names. */
  index: Index | undefined;
  /** At least one, in the index's order. */
  images: SourceImage[];
  /** Entries of the index that are taken over as they are. */
  carried: Descriptor[];
}

/**
 * Reads what the source names down to the manifests and configs of the images of `choice`. No layer is read. UNSUPPORTED
 * for images of another kind: already Nydus, not for Linux, artifacts, layers that are no file systems. MALFORMED if config
 * and manifest disagree. NOT_FOUND for a platform that is not there; a single image counts as one for any platform.
 */
export async function readSource(
  source: ImageSource,
  choice: PlatformChoice,
  signal?: AbortSignal,
): Promise<Source> {
  const descriptor = await source.resolve(signal);
  const bytes = await source.readManifest(descriptor, signal);
  const parsed = parseManifest(bytes, nameOf(source, descriptor), descriptor.mediaType);
  if (parsed.kind === 'manifest') {
    const { digest, size } = descriptor;
    const entry = { mediaType: parsed.mediaType, digest, size };
    return {
      descriptor,
      index: undefined,
      images: [await readImage(source, entry, parsed, signal)],
      carried: [],
    };
  }
  const { images: entries, carried } = selectEntries(parsed, choice);
  const images: SourceImage[] = [];
  for (const entry of entries) {
    const manifestBytes = await source.readManifest(entry, signal);
    const manifest = parseImageManifest(manifestBytes, nameOf(source, entry), entry.mediaType);
    images.push(await readImage(source, entry, manifest, signal));
  }
  return { descriptor, index: parsed, images, carried };
}

function nameOf({ name }: ImageSource, { digest }: Descriptor): string {
  return `${name}: ${digest}`;
}

async function readImage(
  source: ImageSource,
  entry: Descriptor,
  manifest: Manifest,
  signal: AbortSignal | undefined,
): Promise<SourceImage> {
  const { name } = source;
  if (isNydusManifest(manifest)) {
    throw new RafterError('UNSUPPORTED', `${name}: it is a Nydus image already`, {
      hint: 'to bring it elsewhere use rafter copy',
    });
  }
  for (const [i, layer] of manifest.layers.entries()) checkLayerType(layer, `${name}: layer ${i + 1}`);
  const config = parseImageConfig(
    await readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal }),
    `${name}: config ${manifest.config.digest}`,
  );
  // Docker left the member out in its early days; it meant Linux.
  if (config.os !== 'linux' && config.os !== '') {
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: an image for ${config.os}; only Linux images can be converted`,
    );
  }
  if (config.diffIds.length !== manifest.layers.length) {
    throw new RafterError(
      'MALFORMED',
      `${name}: the config has ${config.diffIds.length} diff ids for ${manifest.layers.length} layers`,
    );
  }
  const platform = entry.platform ?? platformOf(config);
  return { entry: { ...entry, platform }, manifest, config };
}

function platformOf({ os, architecture, variant }: ImageConfig): Platform {
  return { os: os || 'linux', architecture, ...(variant !== undefined && { variant }) };
}
