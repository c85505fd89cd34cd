import { connect } from 'node:net';

/** One request to a server on a unix socket. */
export interface ExchangeRequest {
  method: string;
  /** Path and query, encoded for a URL. */
  path: string;
  /** JSON text; nothing is sent if it is missing. */
  body?: string | undefined;
  /** Aborting it closes the connection, and rejects. */
  signal?: AbortSignal | undefined;
  /** Called when the whole request is on its way. */
  onSent?: (() => void) | undefined;
}

/** What was answered. */
export interface ExchangeAnswer {
  status: number;
  body: Buffer;
}

const END_OF_HEAD = '\r\n\r\n';

/**
 * One HTTP request to the server at `socket`, on a connection of its own. It is of version 1.0 (RFC 1945), so the answer comes in one
 * piece, whatever serves it. By hand, because a container's start waits for it: Node.js needs 10 ms of CPU time to load its own client and
 * make its first request. Rejects with the socket's error, ECONNRESET if the answer ends early, or an Error for what is no answer.
 */
export function exchange(
  socket: string,
  { method, path, body, signal, onSent }: ExchangeRequest,
): Promise<ExchangeAnswer> {
  const head = [`${method} ${path} HTTP/1.0`, 'host: daemon'];
  if (body !== undefined)
    head.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`);
  return new Promise((resolve, reject) => {
    const connection = connect(socket);
    // The option `signal` of connect would keep its listener.
    const abort = () => connection.destroy(new Error('aborted'));
    signal?.addEventListener('abort', abort, { once: true });
    connection.once('close', () => signal?.removeEventListener('abort', abort));
    if (signal?.aborted) abort();
    const pieces: Buffer[] = [];
    connection.on('data', (piece) => pieces.push(piece));
    connection.once('error', reject);
    connection.once('end', () => {
      try {
        resolve(parseAnswer(Buffer.concat(pieces)));
      } catch (error) {
        reject(error);
      }
    });
    connection.write(`${head.join('\r\n')}${END_OF_HEAD}${body ?? ''}`, (error) => {
      if (!error) onSent?.();
    });
  });
}

function parseAnswer(bytes: Buffer): ExchangeAnswer {
  const end = bytes.indexOf(END_OF_HEAD);
  if (end < 0) throw cutOff();
  const head = bytes.toString('latin1', 0, end);
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
  if (status === undefined) throw new Error(`it does not speak HTTP: ${JSON.stringify(head.slice(0, 40))}`);
  const body = bytes.subarray(end + END_OF_HEAD.length);
  const length = /^content-length: *(\d+) *$/im.exec(head)?.[1];
  if (length !== undefined && body.length < Number(length)) throw cutOff();
  return { status: Number(status), body };
}

function cutOff(): Error {
  return Object.assign(new Error('the answer ends too early'), { code: 'ECONNRESET' });
}
