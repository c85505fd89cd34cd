import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { stopServer } from './stop-server.js';

/** A forward proxy in this process: CONNECT, and plain requests with a whole URL. */
export interface ProxyServer {
  url: string;
  /** `CONNECT host:port` or `GET http://...`, with the Proxy-Authorization that came with it. */
  requests: { line: string; authorization: string | undefined }[];
  stop(): Promise<void>;
}

export interface ProxyServerOptions {
  /** `user:password` that it wants. */
  credentials?: string;
  /** Where every host is taken to be, so that names can be used that nobody has. */
  target?: { host: string; port: number };
}

export async function startProxyServer({
  credentials,
  target,
}: ProxyServerOptions = {}): Promise<ProxyServer> {
  const requests: ProxyServer['requests'] = [];
  const wanted = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  const sockets = new Set<Socket>();
  const server = createServer((incoming, outgoing) => {
    const authorization = incoming.headers['proxy-authorization'];
    requests.push({ line: `${incoming.method} ${incoming.url}`, authorization });
    if (wanted !== undefined && authorization !== wanted) return void outgoing.writeHead(407).end();
    const url = new URL(incoming.url ?? '');
    const { host, port } = target ?? { host: url.hostname, port: Number(url.port || 80) };
    const { 'proxy-authorization': _, ...headers } = incoming.headers;
    const onward = request(
      { host, port, method: incoming.method, path: `${url.pathname}${url.search}`, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  server.on('connect', (incoming, socket: Socket, head: Buffer) => {
    const authorization = incoming.headers['proxy-authorization'];
    requests.push({ line: `CONNECT ${incoming.url}`, authorization });
    socket.on('error', () => {});
    if (wanted !== undefined && authorization !== wanted) {
      return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n');
    }
    const [host = '', port = ''] = (incoming.url ?? '').split(':');
    const onward = connect(target ?? { host, port: Number(port) }, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    sockets.add(onward);
    onward.on('error', () => socket.destroy());
  });
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    stop: () => stopServer(server, sockets),
  };
}
