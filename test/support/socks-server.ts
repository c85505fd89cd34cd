import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { stopServer } from './stop-server.js';

/** A SOCKS5 proxy in this process (RFC 1928), which takes every host to be at `target`. */
export interface SocksServer {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** `NAME:PORT` of all that was asked for, with the `user:password` that came with it. */
  requests: { target: string; login: string | undefined }[];
  stop(): Promise<void>;
}

/** `login`: the `user:password` that it wants. */
export async function startSocksServer(
  target: { host: string; port: number },
  { login }: { login?: string } = {},
): Promise<SocksServer> {
  const requests: SocksServer['requests'] = [];
  const sockets = new Set<Socket>();
  const server = createServer(async (socket) => {
    sockets.add(socket.on('error', () => {}));
    const next = async () => (await once(socket, 'data'))[0] as Buffer;
    await next();
    socket.write(Buffer.from([5, login === undefined ? 0 : 2]));
    let given: string | undefined;
    if (login !== undefined) {
      const message = await next();
      const length = message[1]!;
      given = `${message.subarray(2, 2 + length)}:${message.subarray(3 + length)}`;
      socket.write(Buffer.from([1, given === login ? 0 : 1]));
      if (given !== login) return;
    }
    const request = await next();
    const name = request.subarray(5, 5 + request[4]!).toString();
    requests.push({ target: `${name}:${request.readUInt16BE(request.length - 2)}`, login: given });
    const onward = connect(target, () => {
      socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
      socket.pipe(onward).pipe(socket);
    });
    sockets.add(onward.on('error', () => socket.destroy()));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    stop: () => stopServer(server, sockets),
  };
}
