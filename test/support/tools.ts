import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** Programs of other projects that judge ours. They are no Debian packages: RAFTER_PEERS names a folder with them. */
type Peer = 'nydusd' | 'nydus-image' | 'nydusify';

/** The reason to skip a test that needs `peers`, or undefined if all of them are there. */
export function missingPeers(...peers: Peer[]): string | undefined {
  const folder = process.env.RAFTER_PEERS;
  if (!folder) return `RAFTER_PEERS does not name a folder with ${peers.join(', ')}`;
  const missing = peers.filter((peer) => !isExecutable(join(folder, peer)));
  return missing.length === 0 ? undefined : `not in RAFTER_PEERS: ${missing.join(', ')}`;
}

/** Path of a peer that `missingPeers` did not miss. */
export function peerPath(peer: Peer): string {
  return join(process.env.RAFTER_PEERS ?? '', peer);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
