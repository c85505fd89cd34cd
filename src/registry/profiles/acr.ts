import type { Profile } from './profile.js';

/** Azure Container Registry: resets or refuses large blobs that come in one request, so those are sent in pieces. */
export const acr: Profile = {
  name: 'Azure Container Registry',
  hosts: [/^.+\.azurecr\.(?:io|cn|us|de)$/],
  upload: { largestPut: 20 << 20 },
  mount: { anonymous: false },
  hints: [
    [
      401,
      'az acr login --name NAME --expose-token gives a password for user 00000000-0000-0000-0000-000000000000',
    ],
  ],
};
