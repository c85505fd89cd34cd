/** How an image is named on the command line, where it has to be a converted one. */
export const NYDUS_IMAGE_FORMS = 'REGISTRY/IMAGE[:TAG], oci:DIR[:TAG] or oci-archive:FILE[:TAG]';

/** How any image is named on the command line. */
export const IMAGE_FORMS =
  'REGISTRY/IMAGE[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]';
