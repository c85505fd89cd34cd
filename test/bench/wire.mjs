// A TCP relay that behaves like a longer, narrower wire: every byte waits half the round trip in each direction, and all connections
// together share one bandwidth in each direction.
//   node wire.mjs TARGET_PORT RTT_MS MBIT        prints the port that it listens on
// MBIT 0 is as fast as the loopback. On SIGUSR1 it prints {connections, up, down} since the last time: bytes in each direction.
import { connect, createServer } from 'node:net';

const [target, rtt, mbit] = process.argv.slice(2).map(Number);
const half = rtt / 2;
const bytesPerMs = mbit === 0 ? Number.POSITIVE_INFINITY : (mbit * 1e6) / 8 / 1000;
const totals = { connections: 0, up: 0, down: 0 };
/** Bytes under way on one connection in one direction, as a socket's buffers would hold. */
const WINDOW = 4 << 20;
/** Largest piece that occupies the wire at once, so that connections share it fairly. */
const SLICE = 16 << 10;

/** One direction of the wire; knows when it has sent everything that it was given so far. */
function createDirection() {
  let freeAt = 0;
  return {
    dueFor(bytes) {
      freeAt = Math.max(freeAt, performance.now()) + bytes / bytesPerMs;
      return freeAt + half;
    },
  };
}

const directions = { up: createDirection(), down: createDirection() };

function relay(from, to, name) {
  const direction = directions[name];
  const queue = [];
  let queued = 0;
  let timer;
  const deliver = () => {
    timer = undefined;
    while (queue.length > 0 && queue[0].due <= performance.now()) {
      const { piece } = queue.shift();
      if (piece === undefined) to.end();
      else {
        queued -= piece.length;
        to.write(piece);
      }
    }
    if (queued < WINDOW) from.resume();
    if (queue.length > 0) timer = setTimeout(deliver, Math.max(0, queue[0].due - performance.now()));
  };
  const push = (piece) => {
    const due = piece === undefined ? performance.now() + half : direction.dueFor(piece.length);
    queue.push({ piece, due: Math.max(due, queue.at(-1)?.due ?? 0) });
    queued += piece?.length ?? 0;
    totals[name] += piece?.length ?? 0;
    if (queued >= WINDOW) from.pause();
    timer ??= setTimeout(deliver, Math.max(0, queue[0].due - performance.now()));
  };
  from.on('data', (data) => {
    for (let at = 0; at < data.length; at += SLICE) push(data.subarray(at, at + SLICE));
  });
  from.on('end', () => push(undefined));
  from.on('error', () => to.destroy());
  from.on('close', () => {
    clearTimeout(timer);
    if (from.errored) to.destroy();
  });
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  client.pause();
  client.on('error', () => {});
  totals.connections++;
  // The round trip of the handshake.
  setTimeout(() => {
    const upstream = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    relay(client, upstream, 'up');
    relay(upstream, client, 'down');
    client.resume();
  }, rtt);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.on('SIGUSR1', () => {
  console.log(JSON.stringify(totals));
  Object.assign(totals, { connections: 0, up: 0, down: 0 });
});
