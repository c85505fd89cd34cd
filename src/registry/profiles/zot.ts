import type { Profile } from './profile.js';

/**
 * zot: the specification and little else; an upload whose connection was cut is gone. It is known by its answer to a ping only. It stores Docker's media types only if told to.
 */
export const zot: Profile = {
  name: 'zot',
  headers: { 'access-control-allow-headers': /x-zot-api-client/i },
  isSeenByPing: true,
  hints: [
    [
      'MANIFEST_INVALID',
      'zot takes manifests of Docker’s types only with http.compat: ["docker2s2"] in its configuration',
    ],
  ],
};
