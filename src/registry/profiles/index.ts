import type { IncomingHttpHeaders } from 'node:http';
import { distribution } from './distribution.js';
import type { Profile } from './profile.js';

const PROFILES: Profile[] = [distribution];

/** What is known of the registry at `host` (with or without port) before it has answered. */
export function profileByHost(host: string): Profile {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return PROFILES.find(({ hosts = [] }) => hosts.some((pattern) => pattern.test(name))) ?? distribution;
}

/** The kind of registry that an answer's headers give away; undefined if they do not. */
export function profileByHeaders(headers: IncomingHttpHeaders): Profile | undefined {
  return PROFILES.find(({ headers: signs = {} }) =>
    Object.entries(signs).some(([name, pattern]) => pattern.test(String(headers[name] ?? ''))),
  );
}
