import type { Profile } from './profile.js';

/** Docker Hub: Distribution with storage of its own, and limits on how many manifests one may pull. */
export const dockerHub: Profile = {
  name: 'Docker Hub',
  hosts: [/^(?:.+\.)?docker\.io$/],
  mount: { anonymous: false },
  hints: [
    [429, 'Docker Hub limits pulls by address, or by user for those who log in: rafter login docker.io'],
    ['UNAUTHORIZED', 'the repository may not exist: Docker Hub does not tell that from one you may not see'],
  ],
};
