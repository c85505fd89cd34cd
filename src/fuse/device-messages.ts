/** What the main thread tells the thread that reads the device. It looks for messages when it is woken. */
export type ToReader =
  /** Serve the requests of `fd`. `spec` describes its file system for `ReaderSetup`; without it all requests are passed on. */
  | { kind: 'add'; connection: number; fd: number; spec?: unknown }
  /** Something new about the file system of a connection. */
  | { kind: 'update'; connection: number; update: unknown }
  /** Work that has nothing to do with a connection, for when there are no requests. */
  | { kind: 'work'; id: number; work: unknown }
  /** Give back memory that is not needed any more. */
  | { kind: 'collect' }
  /** Stop serving all of them and end the thread. */
  | { kind: 'stop' };

/** What the thread that reads the device tells the main thread. */
export type FromReader =
  /** This request has to wait for something, or is of a kind that only the main thread answers. The bytes are its own. */
  | { kind: 'request'; connection: number; bytes: Uint8Array }
  /** What came of a work; undefined if it failed. */
  | { kind: 'worked'; id: number; result: unknown }
  /** The kernel has let go of the mount. */
  | { kind: 'ended'; connection: number }
  | { kind: 'error'; connection: number; operation: string; node: number; message: string };

/** What the thread starts with. */
export interface ReaderData {
  /** eventfd that wakes the thread. */
  wakeFd: number;
}
