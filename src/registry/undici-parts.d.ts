// The files of undici that are used by themselves (see `undici.ts`), with the types of what its main file exports.

declare module 'undici/lib/dispatcher/pool.js' {
  import { Pool } from 'undici';
  export default Pool;
}

declare module 'undici/lib/dispatcher/proxy-agent.js' {
  import { ProxyAgent } from 'undici';
  export default ProxyAgent;
}

declare module 'undici/lib/core/connect.js' {
  import { buildConnector } from 'undici';
  export default buildConnector;
}

declare module 'undici/lib/api/api-request.js' {
  import type { Dispatcher } from 'undici';
  export default function request(
    this: Dispatcher,
    options: Dispatcher.RequestOptions,
  ): Promise<Dispatcher.ResponseData>;
}

declare module 'undici/lib/api/api-connect.js' {
  const connect: (this: import('undici').Dispatcher, ...args: unknown[]) => unknown;
  export default connect;
}

declare module 'undici/lib/core/socks5-client.js' {
  import type { EventEmitter } from 'node:events';
  import type { Socket } from 'node:net';

  interface Socks5Client extends EventEmitter {
    handshake(): void;
    connect(address: string, port: number): void;
  }
  const parts: {
    Socks5Client: new (socket: Socket, options: { username: string; password: string }) => Socks5Client;
  };
  export default parts;
}
