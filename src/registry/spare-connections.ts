import type { Socket } from 'node:net';
import type { Connector } from './undici.js';

/** How long a connection is held open that nobody takes, in milliseconds. */
const SPARE_MS = 10_000;

/** Connections that are opened before anybody needs them: each saves a request a round trip, or two with TLS. */
export interface SpareConnections {
  /** Gives one that is open or on its way; where there is none, opens a connection. */
  connect: Connector;
  /** Opens `count` of them to the server at `url`. What goes wrong shows when a connection is needed. */
  open(url: URL, count: number): void;
  close(): void;
}

interface Spare {
  /** Once it is open. */
  socket?: Socket;
  timer?: NodeJS.Timeout;
  /** Who waits for it; is given nothing if it could not be opened. */
  taker?: (socket: Socket | undefined) => void;
}

/** Spare connections to one origin, opened by `connect`. */
export function createSpareConnections(connect: Connector): SpareConnections {
  const spares = new Set<Spare>();
  let isClosed = false;

  function openOne({ host, hostname, protocol, port }: URL): void {
    const spare: Spare = {};
    spares.add(spare);
    const address = hostname.replace(/^\[|\]$/g, '');
    connect({ host, hostname: address, protocol, port }, (error, socket) => {
      if (error === null && !isClosed && spare.taker === undefined) return keep(spare, socket);
      spares.delete(spare);
      if (isClosed) socket?.destroy();
      spare.taker?.(isClosed || error !== null ? undefined : socket);
    });
  }

  function keep(spare: Spare, socket: Socket): void {
    spare.socket = socket;
    spare.timer = setTimeout(() => socket.destroy(), SPARE_MS).unref();
    socket.once('close', () => drop(spare));
  }

  function drop(spare: Spare): void {
    clearTimeout(spare.timer);
    spares.delete(spare);
  }

  return {
    connect(options, callback) {
      const spare = [...spares].find(({ taker }) => taker === undefined);
      if (spare === undefined) return connect(options, callback);
      const { socket } = spare;
      if (socket === undefined) {
        spare.taker = (opened) =>
          opened === undefined ? connect(options, callback) : callback(null, opened);
        return;
      }
      drop(spare);
      // undici counts on hearing of a connection later.
      queueMicrotask(() => callback(null, socket));
    },
    open(url, count) {
      for (let i = 0; i < count; i++) openOne(url);
    },
    close() {
      isClosed = true;
      for (const { socket } of spares) socket?.destroy();
    },
  };
}
