import type { Socket } from 'node:net';
import { RafterError } from '../../errors.js';
import { type PeerCredentials, peerCredentials } from '../../os/peer.js';
import type { DaemonLog } from '../daemon-log.js';

/** Node.js keeps the descriptor of a socket here, and nowhere else; -1 when it is closed. */
interface WithHandle {
  _handle?: { fd?: number } | null;
}

/**
 * Tells who may speak to the daemon: root, and the user whose daemon it is. The mode of the socket says so, too, but somebody may
 * have changed that. Asked once for each connection.
 */
export function createPeerCheck(log: DaemonLog): (socket: Socket) => void {
  const own = process.geteuid?.() ?? 0;
  const refused = new WeakMap<Socket, PeerCredentials | false>();
  return (socket) => {
    let found = refused.get(socket);
    if (found === undefined) {
      const { pid, uid, gid } = peerCredentials((socket as WithHandle)._handle?.fd ?? -1);
      found = uid === 0 || uid === own ? false : { pid, uid, gid };
      refused.set(socket, found);
      if (found) log.warn('refused a connection', { ...found });
    }
    if (found)
      throw new RafterError('DENIED', `user ${found.uid} may not speak to this daemon`, {
        hint: 'run as root, or as the user who started it',
      });
  };
}
