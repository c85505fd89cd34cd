import { ociDigest } from '../codec/digest.js';
import type { ImageConfig } from '../image/config.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import type { Manifest } from '../image/manifest.js';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../image/media-types.js';
import { isNydusAnnotation, isNydusHistory } from '../image/nydus-manifest.js';

/**
 * Manifest and configuration of the ordinary image with the one layer `layer` that a Nydus image was exported to, always of
 * OCI types. The history keeps what is known of the image's making; its steps made no layers any more. What the
 * conversion added is gone.
 */
export function buildExportedManifest(
  source: { manifest: Manifest; config: ImageConfig },
  layer: { digest: Digest; size: number; diffId: Digest },
): { manifest: Buffer; config: Buffer } {
  const { raw, history } = source.config;
  const steps = history
    .filter((entry) => !isNydusHistory(entry))
    .map((entry) => ({ ...entry, empty_layer: true }));
  const config = encode({
    ...raw,
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [...steps, { created_by: 'rafter export', comment: 'all layers in one' }],
  });
  const annotations = Object.entries(source.manifest.annotations ?? {}).filter(
    ([key]) => !isNydusAnnotation(key),
  );
  const configDescriptor: Descriptor = {
    mediaType: OCI_CONFIG,
    digest: ociDigest(config),
    size: config.length,
  };
  const manifest = encode({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: configDescriptor,
    layers: [{ mediaType: OCI_LAYER_GZIP, digest: layer.digest, size: layer.size }],
    ...(annotations.length > 0 && { annotations: Object.fromEntries(annotations) }),
  });
  return { manifest, config };
}

function encode(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
