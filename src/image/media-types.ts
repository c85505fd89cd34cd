/** Media types of OCI image spec 1.1 and of Docker's image manifest version 2, schema 2. */
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
/** Type of `{}`, what an artifact has in place of a configuration. */
export const OCI_EMPTY = 'application/vnd.oci.empty.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const OCI_LAYER_GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_LAYER_GZIP = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

/** A layer that holds one Nydus data blob. */
export const NYDUS_BLOB_LAYER = 'application/vnd.oci.image.layer.nydus.blob.v1';
/** Artifact type of the descriptor of a Nydus manifest inside an index. */
export const NYDUS_MANIFEST_ARTIFACT = 'application/vnd.nydus.image.manifest.v1+json';
/** Type of the configuration of a Nydus manifest beside an ordinary one, so that clients that do not know it take the other. */
export const NYDUS_CONFIG = 'application/vnd.nydus.image.config.v1+json';

/** Annotation keys of Nydus images, as nydusify writes and nydus-snapshotter reads them. */
export const NYDUS_BLOB = 'containerd.io/snapshot/nydus-blob';
export const NYDUS_BOOTSTRAP = 'containerd.io/snapshot/nydus-bootstrap';
/** Digest of the ordinary layer that holds the chunks of this one. */
export const NYDUS_REF = 'containerd.io/snapshot/nydus-ref';
export const NYDUS_FS_VERSION = 'containerd.io/snapshot/nydus-fs-version';
export const NYDUS_SOURCE_DIGEST = 'containerd.io/snapshot/nydus-source-digest';
export const NYDUS_SOURCE_REFERENCE = 'containerd.io/snapshot/nydus-source-reference';
/** Annotations of the layer that is a start-up pack: SHA-256 and bytes of the table that it begins with. */
export const STARTUP_TABLE_DIGEST = 'rafter.startup.table-digest';
export const STARTUP_TABLE_SIZE = 'rafter.startup.table-size';
/** Type of the artifact, and of its one layer, that is a start-up profile attached to an image. */
export const STARTUP_PROFILE = 'application/vnd.rafter.startup-profile.v1+json';
/** OS feature that marked a Nydus manifest in an index before there was the artifact type. */
export const NYDUS_OS_FEATURE = 'nydus.remoteimage.v1';

/** Annotation that holds the tag of an entry in a layout's index.json (OCI image spec, annotations). */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** Annotation that says when something was made: RFC 3339 (OCI image spec, annotations). */
export const CREATED = 'org.opencontainers.image.created';
/** Annotation that holds the whole name there in archives that containerd and Docker write, REF_NAME holding the tag only. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** What an index entry is to another one, whose digest the second annotation has (BuildKit, attestation storage). */
export const REFERENCE_TYPE = 'vnd.docker.reference.type';
export const REFERENCE_DIGEST = 'vnd.docker.reference.digest';
/** Value of REFERENCE_TYPE for provenance and lists of packages. */
export const ATTESTATION = 'attestation-manifest';

/** True for the two media types of an index of manifests. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_INDEX;
}

/** True for the media types of a manifest of one image. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
}

/** True for layers that their owner does not let registries hand out; they are fetched from `urls`, not copied. */
export function isNondistributable(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.rootfs.foreign.');
}
