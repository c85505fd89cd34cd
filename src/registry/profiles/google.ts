import type { Profile } from './profile.js';

/**
 * Google Artifact Registry and Container Registry: no upload in pieces. Asked for referrers, it leads to a log-in page, so it is not
 * asked.
 */
export const google: Profile = {
  name: 'Google Artifact Registry',
  hosts: [/^(?:.+-docker\.pkg\.dev|docker\.pkg\.dev)$/, /^(?:.+\.)?gcr\.io$/],
  upload: { pieces: false },
  mount: { anonymous: false },
  referrers: false,
  hints: [
    ['NAME_UNKNOWN', 'Artifact Registry makes no repository by itself: gcloud artifacts repositories create'],
    [401, 'gcloud auth print-access-token | rafter login -u oauth2accesstoken --password-stdin HOST'],
  ],
};
