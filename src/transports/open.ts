import { dockerArchiveSource } from '../image/archive/docker-archive-source.js';
import { dockerArchiveTarget } from '../image/archive/docker-archive-target.js';
import { ociArchiveTarget } from '../image/archive/oci-archive-target.js';
import { layoutArchive } from '../image/layout/layout-reader.js';
import { LayoutSource } from '../image/layout/layout-source.js';
import { LayoutTarget } from '../image/layout/layout-target.js';
import type { ImageReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import type { ImageTarget } from '../image/target.js';
import type { RegistryOptions } from '../registry/options.js';
import { RegistrySource } from '../registry/source.js';
import { RegistryTarget } from '../registry/target.js';

/** How images are reached, whatever holds them. */
export interface AccessOptions extends RegistryOptions {
  /** Directory for blobs on their way to a registry, and for archives that have to be unpacked. Default: the system's for temporary files. */
  tempDir?: string | undefined;
}

/** The image that `reference` names, for reading. Nothing is opened yet. */
export function openSource(reference: ImageReference, options: AccessOptions = {}): ImageSource {
  const { tempDir } = options;
  switch (reference.transport) {
    case 'registry':
      return new RegistrySource(reference, options);
    case 'oci':
      return new LayoutSource(reference);
    case 'oci-archive':
      return new LayoutSource(reference, layoutArchive(reference.path, { tempDir }));
    case 'docker-archive':
      return dockerArchiveSource(reference, { tempDir });
  }
}

/** The image that `reference` names, for writing. Nothing is opened or changed yet. USAGE if no target can be named so. */
export function openTarget(reference: ImageReference, options: AccessOptions = {}): ImageTarget {
  switch (reference.transport) {
    case 'registry':
      return new RegistryTarget(reference, options);
    case 'oci':
      return new LayoutTarget(reference);
    case 'oci-archive':
      return ociArchiveTarget(reference);
    case 'docker-archive':
      return dockerArchiveTarget(reference);
  }
}
