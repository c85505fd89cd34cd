import type { Profile } from './profile.js';

/** CNCF Distribution 2.8 and 3, and everything built on it that does not say what it is. */
export const distribution: Profile = { name: 'Distribution' };
