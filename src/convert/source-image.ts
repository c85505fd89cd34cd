import { RafterError } from '../errors.js';
import { type ImageConfig, MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import type { Descriptor, Platform } from '../image/descriptor.js';
import { type Manifest, parseImageManifest, parseManifest } from '../image/manifest.js';
import { isNydusManifest } from '../image/nydus-manifest.js';
import { selectPlatform } from '../image/platform.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import { checkLayerType } from './layer-types.js';

/** An image that can be converted. */
export interface SourceImage {
  /** Of the manifest. */
  descriptor: Descriptor;
  manifest: Manifest;
  config: ImageConfig;
}

/**
 * Reads what the source names down to manifest and config, choosing `platform` from an index. No layer is read. UNSUPPORTED
 * for images of another kind: already Nydus, not for Linux, artifacts, layers that are no file systems. MALFORMED if config
 * and manifest disagree.
 */
export async function readSourceImage(
  source: ImageSource,
  platform: Platform,
  signal?: AbortSignal,
): Promise<SourceImage> {
  const { name } = source;
  const { descriptor, manifest } = await readManifest(source, platform, signal);
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
  return { descriptor, manifest, config };
}

async function readManifest(
  source: ImageSource,
  platform: Platform,
  signal: AbortSignal | undefined,
): Promise<{ descriptor: Descriptor; manifest: Manifest }> {
  const named = await source.resolve(signal);
  const what = (descriptor: Descriptor) => `${source.name}: ${descriptor.digest}`;
  const parsed = parseManifest(await source.readManifest(named, signal), what(named), named.mediaType);
  if (parsed.kind === 'manifest') return { descriptor: named, manifest: parsed };
  const chosen = selectPlatform(parsed, platform);
  const bytes = await source.readManifest(chosen, signal);
  return {
    descriptor: chosen,
    manifest: parseImageManifest(bytes, what(chosen), chosen.mediaType),
  };
}
