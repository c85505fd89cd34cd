import type { IncomingHttpHeaders } from 'node:http';
import { acr } from './acr.js';
import { distribution } from './distribution.js';
import { dockerHub } from './docker-hub.js';
import { ecr } from './ecr.js';
import { ghcr } from './ghcr.js';
import { google } from './google.js';
import { harbor } from './harbor.js';
import type { Profile } from './profile.js';
import { quay } from './quay.js';
import { zot } from './zot.js';

/** In this order, because many answer with Distribution's headers, too. */
const PROFILES: Profile[] = [dockerHub, harbor, zot, quay, ecr, google, ghcr, acr, distribution];

/** A registry of which nothing is known: as the specification says. */
const unknown: Profile = { name: 'OCI registry' };

/** What is known of the registry at `host` (with or without port) before it has answered. */
export function profileByHost(host: string): Profile {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return PROFILES.find(({ hosts = [] }) => hosts.some((pattern) => pattern.test(name))) ?? unknown;
}

/** `profile`, or the one that an answer's headers give away if nothing was known. */
export function refineProfile(profile: Profile, headers: IncomingHttpHeaders): Profile {
  if (profile !== unknown) return profile;
  const found = PROFILES.find(({ headers: signs = {} }) =>
    Object.entries(signs).some(([name, pattern]) => pattern.test(String(headers[name] ?? ''))),
  );
  return found ?? unknown;
}

/** True if a ping may tell more of an error: the registry is not known, and one that is seen by its ping has a hint for that. */
export function isHintMissing(profile: Profile, answer: { status: number; codes: string[] }): boolean {
  return (
    profile === unknown && PROFILES.some((one) => one.isSeenByPing && profileHint(one, answer) !== undefined)
  );
}

/** What to tell a user who got an error with `status` and `codes` from a registry. */
export function profileHint(
  { hints = [] }: Profile,
  { status, codes }: { status: number; codes: string[] },
): string | undefined {
  return hints.find(([code]) => code === status || codes.includes(String(code)))?.[1];
}
