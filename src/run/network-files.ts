import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';
import type { Volume } from './volume.js';

const LOCAL_HOSTS = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n';

export interface NetworkFilesRequest {
  /** Existing directory that keeps the files while the container runs. */
  directory: string;
  network: 'host' | 'none';
  hostname: string;
  readOnly: boolean;
}

/**
 * Writes the three files in /etc that, as with Docker, come from where the container runs and not from its image:
 * resolv.conf and hosts are copies of the machine's (with `none`, hosts knows localhost only), hostname is the
 * container's. Returns the bind mounts that put them in place.
 */
export function createNetworkFiles({
  directory,
  network,
  hostname,
  readOnly,
}: NetworkFilesRequest): Volume[] {
  const contents = {
    'resolv.conf': readIfThere('/etc/resolv.conf'),
    hosts: network === 'host' ? readIfThere('/etc/hosts') || LOCAL_HOSTS : LOCAL_HOSTS,
    hostname: `${hostname}\n`,
  };
  return Object.entries(contents).map(([name, content]) => {
    const source = join(directory, name);
    writeFileSync(source, content, { mode: 0o644 });
    return { source, destination: `/etc/${name}`, readOnly };
  });
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
