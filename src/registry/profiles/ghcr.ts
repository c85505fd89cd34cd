import type { Profile } from './profile.js';

/** GitHub's packages: a second PATCH replaces what the first one sent, a PATCH with a length may be refused. No list of referrers. */
export const ghcr: Profile = {
  name: 'GitHub Container Registry',
  hosts: [/^(?:.+\.)?ghcr\.io$/],
  upload: { pieces: false },
  mount: { anonymous: false },
  referrers: false,
  hints: [
    [401, 'the password is a personal access token (classic) with read:packages or write:packages'],
    [
      403,
      'the token lacks write:packages, or the package belongs to somebody else; new packages are private',
    ],
  ],
};
