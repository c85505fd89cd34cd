import { once } from 'node:events';
import { request as ask, createServer } from 'node:http';

/**
 * A relay in front of a registry, and at the same time what dfdaemon's proxy is as a mirror, that notes each request of blobs and manifests.
 * @param {string} host HOST:PORT of the registry
 * @returns {Promise<{ host: string, take(): Seen[], stop(): Promise<void> }>} `take` gives what was noted since it was asked last
 * @typedef {{ path: string, headers: Record<string, string>, isForPeer: boolean, blob?: string, size: number, offset: number, length: number,
 *   isWhole: boolean, begin: number, end: number }} Seen times are in seconds
 */
export async function startRecorder(host) {
  const [hostname, port] = host.split(':');
  const seen = [];
  const server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const begin = performance.now() / 1000;
    const { 'x-dragonfly-registry': registry, connection: _, ...passed } = headers;
    const upstream = ask(
      { hostname, port, method, path, headers: { ...passed, host }, agent: false },
      (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
        answer.once('end', () => {
          const end = performance.now() / 1000;
          if (answer.statusCode < 300 && /\/(blobs|manifests)\//.test(path))
            seen.push({
              path,
              headers,
              isForPeer: registry !== undefined,
              begin,
              end,
              ...extentOf(answer, path, method),
            });
        });
      },
    );
    upstream.once('error', () => outgoing.destroy());
    outgoing.once('close', () => upstream.destroy());
    incoming.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${server.address().port}`,
    take: () => seen.splice(0),
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function extentOf({ headers, statusCode }, path, method) {
  const blob = /\/blobs\/([a-z0-9]+:[0-9a-f]+)$/.exec(path)?.[1];
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers['content-range'] ?? '') ?? [];
  if (statusCode === 206)
    return { blob, size: Number(total), offset: Number(first), length: last - first + 1, isWhole: false };
  const size = Number(headers['content-length'] ?? 0);
  return { blob, size, offset: 0, length: method === 'HEAD' ? 0 : size, isWhole: true };
}

/**
 * What was noted of one start as requests that wait for each other: each for the one that ended last before it began.
 * @param {Seen[]} seen
 * @param {number} begin seconds, when the start began
 * @param {number} ready seconds, when its first line came
 */
export function requestsOf(seen, begin, ready) {
  const waitsFor = (at) => {
    const before = seen.flatMap(({ end }, index) => (end <= at ? [index] : []));
    const after = before.reduce(
      (best, index) => (best < 0 || seen[index].end > seen[best].end ? index : best),
      -1,
    );
    return { after, gap: at - (after < 0 ? begin : seen[after].end) };
  };
  const requests = seen.map(({ blob, isForPeer, size, offset, length, isWhole, begin: at }) => ({
    blob,
    isForPeer,
    size,
    offset,
    length,
    isWhole,
    ...waitsFor(at),
  }));
  const { after: readyAfter, gap: readyGap } = waitsFor(ready);
  return { requests, readyAfter, readyGap };
}
