import { closeSync } from 'node:fs';
import { libc } from './libc.js';

/** From the kernel's headers: socket(2), send(2), unix(7). */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of `sun_path`. */
const PATH_SIZE = 108;

/**
 * Tells the service manager that started this service what has become of it (sd_notify(3)): `{ READY: '1' }`. Does nothing where
 * no manager asked for it, by NOTIFY_SOCKET; one that does not take the message is no reason to fail.
 */
export function notifyManager(state: Record<string, string>): void {
  const path = process.env.NOTIFY_SOCKET;
  if (!path || !/^[/@]/.test(path) || Buffer.byteLength(path) >= PATH_SIZE) return;
  const { socket, sendto } = libc();
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  try {
    const text = Object.entries(state).map(([name, value]) => `${name}=${value}\n`);
    const message = Buffer.from(text.join(''));
    const address = addressOf(path);
    sendto(fd, message, message.length, MSG_NOSIGNAL, address, address.length);
  } finally {
    closeSync(fd);
  }
}

/** struct sockaddr_un; `@` stands for the NUL byte of an abstract name. */
function addressOf(path: string): Buffer {
  const name = Buffer.from(path);
  if (path.startsWith('@')) name[0] = 0;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name, ...(path.startsWith('@') ? [] : [Buffer.of(0)])]);
}
