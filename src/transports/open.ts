import { RafterError } from '../errors.js';
import { LayoutSource } from '../image/layout-source.js';
import { LayoutTarget } from '../image/layout-target.js';
import { type ArchiveReference, formatReference, type ImageReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import type { ImageTarget } from '../image/target.js';
import type { RegistryOptions } from '../registry/options.js';
import { RegistrySource } from '../registry/source.js';
import { RegistryTarget } from '../registry/target.js';

/** How images are reached, whatever holds them. */
export interface AccessOptions extends RegistryOptions {
  /** Directory for blobs on their way to a registry. Default: the system's for temporary files. */
  tempDir?: string | undefined;
}

/** The image that `reference` names, for reading. Nothing is opened yet. UNSUPPORTED for archives. */
export function openSource(reference: ImageReference, options: AccessOptions = {}): ImageSource {
  if (reference.transport === 'registry') return new RegistrySource(reference, options);
  if (reference.transport === 'oci') return new LayoutSource(reference);
  throw archiveError(reference);
}

/** The image that `reference` names, for writing. Nothing is opened or changed yet. UNSUPPORTED for archives. */
export function openTarget(reference: ImageReference, options: AccessOptions = {}): ImageTarget {
  if (reference.transport === 'registry') return new RegistryTarget(reference, options);
  if (reference.transport === 'oci') return new LayoutTarget(reference);
  throw archiveError(reference);
}

function archiveError(reference: ArchiveReference): RafterError {
  return new RafterError(
    'UNSUPPORTED',
    `${formatReference(reference)}: archives are not read or written directly`,
    {
      hint: 'use an OCI layout directory: unpack an oci-archive with tar, or convert with skopeo copy ... oci:DIR:TAG',
    },
  );
}
