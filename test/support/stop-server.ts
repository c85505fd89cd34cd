import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import type { Server, Socket } from 'node:net';

/** Ends a server with all its connections; `sockets`: those that it does not know itself, or has handed on. Resolves when it is closed. */
export async function stopServer(server: Server | HttpServer, sockets: Iterable<Socket> = []): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  if ('closeAllConnections' in server) server.closeAllConnections();
  for (const socket of sockets) socket.destroy();
  await closed;
}
