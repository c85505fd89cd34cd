import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { stopServer } from './stop-server.js';

/** A registry that answers nothing until it is told to: what is asked for at the same time shows. */
export interface GatedRegistry {
  /** `127.0.0.1:PORT` */
  host: string;
  /** What waits for an answer, sorted: `GET manifests/1`, `GET blobs/sha256:...`, `GET token`. */
  held(): string[];
  /** Lets what waits now be answered. */
  release(): void;
  /** Holds nothing back any more. */
  open(): void;
  stop(): Promise<void>;
}

const TOKEN = 'one-for-everybody';

/**
 * Puts a gate in front of the registry at `target` (`127.0.0.1:PORT`). With `token` it wants one from everybody, which it gives to
 * everybody.
 */
export async function startGatedRegistry(
  target: string,
  { token = false }: { token?: boolean } = {},
): Promise<GatedRegistry> {
  const waiting: { name: string; answer: () => void }[] = [];
  const sockets = new Set<Socket>();
  let isOpen = false;
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? '';
    const name = path.startsWith('/token')
      ? 'token'
      : path.replace(/^\/v2\/(?:.*\/)?(?=(?:manifests|blobs)\/)/, '');
    const answer = () => {
      if (path.startsWith('/token')) outgoing.end(JSON.stringify({ token: TOKEN, expires_in: 300 }));
      else if (token && incoming.headers.authorization !== `Bearer ${TOKEN}`) refuse(outgoing);
      else passOn(incoming, outgoing, target);
    };
    if (isOpen) answer();
    else waiting.push({ name: `${incoming.method} ${name}`, answer });
  });
  const refuse = (outgoing: ServerResponse) =>
    outgoing
      .writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token",service="gate"` })
      .end('{"errors":[{"code":"UNAUTHORIZED"}]}');
  const release = () => {
    for (const { answer } of waiting.splice(0)) answer();
  };
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    held: () => waiting.map(({ name }) => name).sort(),
    release,
    open() {
      isOpen = true;
      release();
    },
    stop: () => stopServer(server, sockets),
  };
}

function passOn(incoming: IncomingMessage, outgoing: ServerResponse, target: string): void {
  const [host, port] = target.split(':');
  const { method, url: path, headers } = incoming;
  const onward = request({ host, port, method, path, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  onward.on('error', () => outgoing.destroy());
  incoming.pipe(onward);
}
