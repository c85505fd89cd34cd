import type { Profile } from './profile.js';

/**
 * CNCF Distribution 2.8 and 3, and whatever looks like it. An upload whose connection was cut is gone with 2.8, and goes on
 * with 3: that is seen when it happens. A mount that names no repository is an ordinary upload with both.
 */
export const distribution: Profile = {
  name: 'Distribution',
  headers: { 'docker-upload-uuid': /./, 'docker-distribution-api-version': /./ },
  hints: [
    [
      405,
      'deleting is switched off in its configuration (storage.delete.enabled), or it is a pull-through cache',
    ],
  ],
};
