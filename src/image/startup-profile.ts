import { ociDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { Descriptor, Digest } from './descriptor.js';
import type { Manifest } from './manifest.js';
import { CREATED, OCI_EMPTY, OCI_MANIFEST, STARTUP_PROFILE } from './media-types.js';

/** The configuration of an artifact that has none (OCI image spec, guidance for an empty descriptor). */
export const EMPTY_CONFIG = Buffer.from('{}');

/** Most bytes of a profile that stands in its manifest: registries need take manifests of 4 MiB only (OCI distribution spec). */
const MAX_EMBEDDED = 64 << 10;

/** The manifest of a start-up profile that is attached to the image `subject`, as an artifact that refers to it. */
export function profileManifest(
  profile: Buffer,
  { subject, createdAt }: { subject: Descriptor; createdAt: Date },
): Buffer {
  const { mediaType, digest, size } = subject;
  const named = (type: string, bytes: Buffer): Descriptor => ({
    mediaType: type,
    digest: ociDigest(bytes),
    size: bytes.length,
    // So that it comes with the manifest, in one request.
    ...(bytes.length <= MAX_EMBEDDED && { data: bytes.toString('base64') }),
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: STARTUP_PROFILE,
      config: named(OCI_EMPTY, EMPTY_CONFIG),
      layers: [named(STARTUP_PROFILE, profile)],
      subject: { mediaType, digest, size },
      annotations: { [CREATED]: createdAt.toISOString() },
    }),
  );
}

/**
 * Of what refers to an image, the start-up profile that was attached last, as far as the annotations tell. Undefined if there is none.
 * Of several of the same time it is always the same one.
 */
export function latestProfile(referrers: readonly Descriptor[]): Descriptor | undefined {
  const time = ({ annotations }: Descriptor) => Date.parse(annotations?.[CREATED] ?? '') || 0;
  return referrers
    .filter(({ artifactType }) => artifactType === STARTUP_PROFILE)
    .sort((a, b) => time(b) - time(a) || (a.digest < b.digest ? -1 : 1))[0];
}

/** The profile in the artifact `manifest`, called `name`, of the image with the digest `subject`. MALFORMED if it is not one of it. */
export function findProfileLayer(
  manifest: Manifest,
  { name, subject }: { name: string; subject: Digest },
): Descriptor {
  if (manifest.subject?.digest !== subject)
    throw new RafterError('MALFORMED', `${name}: a start-up profile of another image`);
  const [layer, ...more] = manifest.layers;
  if (layer?.mediaType !== STARTUP_PROFILE || more.length > 0)
    throw new RafterError('MALFORMED', `${name}: not one layer of type ${STARTUP_PROFILE}`);
  return layer;
}
