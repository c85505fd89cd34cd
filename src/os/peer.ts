import { systemError } from './errno.js';
import { libc } from './libc.js';

/** From the kernel's include/uapi/asm-generic/socket.h: the same on x86-64 and arm64. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** struct ucred: pid, uid and gid, 32 bits each. */
const UCRED_SIZE = 12;

/** Who connected to a unix socket, as the kernel knows it since then (unix(7)). */
export interface PeerCredentials {
  /** 0 if the process is in a PID namespace that is not seen from here. */
  pid: number;
  uid: number;
  gid: number;
}

/** The other end of `fd`, a connected unix socket. Throws with the errno's name. */
export function peerCredentials(fd: number): PeerCredentials {
  const ucred = Buffer.alloc(UCRED_SIZE);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(UCRED_SIZE);
  if (libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ucred, length) !== 0)
    throw systemError(libc().errno(), `ask who is at the other end of socket ${fd}`);
  return { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
}
