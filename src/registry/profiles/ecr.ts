import type { Profile } from './profile.js';

/**
 * Amazon ECR, private and public: PATCH answers 201, and of several ones only the first counts. Mounting is a setting of the account, an
 * ordinary upload without it. Repositories have to exist.
 */
export const ecr: Profile = {
  name: 'Amazon ECR',
  hosts: [/^\d+\.dkr[.-]ecr(?:-fips)?\..+$/, /^public\.ecr\.aws$/],
  upload: { pieces: false },
  mount: { anonymous: false },
  hints: [
    ['NAME_UNKNOWN', 'ECR makes no repository by itself: aws ecr create-repository --repository-name NAME'],
    ['TAG_INVALID', 'the tag exists and the repository’s tags are immutable'],
    [
      401,
      'its passwords are good for 12 hours: aws ecr get-login-password | rafter login -u AWS --password-stdin HOST',
    ],
    [403, 'its passwords are good for 12 hours; or the role has no right to do this'],
  ],
};
