import type { Profile } from './profile.js';

/** Quay: whole blobs are what it takes best, and a mount without a repository to take from is an error. */
export const quay: Profile = {
  name: 'Quay',
  hosts: [/^(?:.+\.)?quay\.io$/],
  mount: { anonymous: false },
  hints: [
    ['MANIFEST_INVALID', 'older releases of Quay take only the media types on their list'],
    ['UNAUTHORIZED', 'robot accounts are named ORGANISATION+NAME, and need to be given the repository'],
  ],
};
