import type { Profile } from './profile.js';

/** Harbor: Distribution behind projects, quotas and robot accounts. Its front end gives itself away by a header. */
export const harbor: Profile = {
  name: 'Harbor',
  headers: { 'x-harbor-csrf-token': /./ },
  mount: { anonymous: false },
  hints: [
    ['NAME_UNKNOWN', 'the first part of the name is a project, which has to be created in Harbor first'],
    ['PROJECTPOLICYVIOLATION', 'a policy of the project forbids it, for instance because of a vulnerability'],
    [412, 'a policy or the quota of the project forbids it'],
  ],
};
