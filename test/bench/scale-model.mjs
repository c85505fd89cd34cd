/** Dragonfly's smallest piece, and its largest (dfdaemon 1.5, `resource/piece.rs`). */
const SMALLEST_PIECE = 4 << 20;
const LARGEST_PIECE = 64 << 20;
/** Pieces of a blob above which they are made larger. */
const MANY_PIECES = 500;
/** How many peers of a task the scheduler looks at, and how many of them it names as parents (its defaults). */
const LOOKED_AT = 15;
const PARENTS = 3;

/**
 * Bytes of a piece of a blob of `size` bytes.
 * @param {number} size
 */
export function pieceLength(size) {
  const least = 2 ** Math.ceil(Math.log2(Math.max(1, Math.floor(size / MANY_PIECES))));
  return Math.min(LARGEST_PIECE, Math.max(SMALLEST_PIECE, least));
}

/**
 * One request of a start as it was recorded. `after` is the request whose end it waited for (its index), and `gap` the seconds from there,
 * or from the beginning, until it was sent.
 * @typedef {{ blob?: string, isForPeer: boolean, size: number, offset: number, length: number, isWhole: boolean, after: number, gap: number }} Request
 */

/**
 * Starts the same image on many nodes, each within `spread` seconds at random, and counts what that asks of whom. Wires are shared in the
 * order of the requests; nothing else takes time.
 *
 * The rules are those of dfdaemon 1.5 and its scheduler, without a manager. A dfdaemon asks the registry for one byte of a blob that it does
 * not know. A range of at most 4 MiB, and a blob of at most 4 MiB, it then fetches in whole pieces from the registry, each piece once, whoever else
 * has it. A larger blob that is asked for whole it registers with the scheduler: the first time that makes a seed peer fetch it from the
 * registry; then its pieces come from up to three parents of 15 peers at random, and the seed peer, that have them or get them.
 * @param {Request[]} requests
 * @param {object} cluster
 * @param {number} cluster.nodes
 * @param {boolean} cluster.hasPeers false: every node asks the registry itself
 * @param {boolean} [cluster.isPreheated] the seed peers have the blobs that they pass on
 * @param {number} [cluster.seeds]
 * @param {number} [cluster.spread]
 * @param {{ registry: number, seed: number, node: number }} cluster.rates bytes a second of each wire, in each direction
 * @param {number} cluster.rtt seconds of a round trip to the registry
 * @param {number} [cluster.retry] seconds after which the scheduler looks for parents again
 * @param {number} cluster.readyAfter index of the request that the start waited for last
 * @param {number} cluster.readyGap seconds from its end to the first line
 * @param {() => number} [cluster.random]
 */
export function simulate(requests, cluster) {
  const { nodes, hasPeers, isPreheated = false, seeds = 1, spread = 0, rates, rtt, retry = 1 } = cluster;
  const { readyAfter, readyGap, random = createRandom(1) } = cluster;
  const counts = { requests: 0, bytes: 0, fromSeeds: 0, fromPeers: 0, registrations: 0 };
  const registry = createHost(rates.registry);
  const seedHosts = Array.from({ length: seeds }, () => createHost(rates.seed));
  const all = Array.from({ length: nodes }, () => createHost(rates.node));
  const tasks = new Map();
  const ends = all.map(() => []);
  const begins = all.map(() => random() * spread);
  const queue = createQueue();

  /** Bytes from `from` to `to`, not before `at`; when they are there. */
  const send = (from, to, { bytes, at }) => {
    from.up = Math.max(from.up, at) + bytes / from.rate;
    to.down = Math.max(to.down, at) + bytes / to.rate;
    return Math.max(from.up, to.down);
  };
  const fetch = (host, bytes, at) => {
    counts.requests++;
    counts.bytes += bytes;
    return send(registry, host, { bytes, at: at + rtt });
  };

  /** The task of a blob that peers share. */
  const taskOf = ({ blob, size }, at) => {
    if (!tasks.has(blob)) {
      const seed = seedHosts[tasks.size % seeds];
      const task = { seed, holders: [], pieces: piecesOf(size, 0, size), isNew: !isPreheated };
      for (const { index, bytes } of task.pieces)
        seed.has.set(`${blob} ${index}`, isPreheated ? 0 : fetch(seed, bytes, at));
      tasks.set(blob, task);
    }
    return tasks.get(blob);
  };

  const fromPeers = (host, request, at) => {
    counts.registrations++;
    const task = taskOf(request, at);
    const { seed, holders, pieces } = task;
    // Whoever comes first finds no parent yet.
    const since = task.isNew ? at + retry * (0.5 + random() / 2) : at;
    task.isNew = false;
    const sample = Array.from({ length: Math.min(LOOKED_AT, holders.length) }, () => pick(holders, random));
    const parents = [...new Set([...sample, seed])].sort((a, b) => a.up - b.up).slice(0, PARENTS);
    let end = since;
    for (const { index, bytes } of pieces) {
      const key = `${request.blob} ${index}`;
      if (host.has.has(key)) continue;
      const parent = parents.reduce((best, one) => (startAt(one, key) < startAt(best, key) ? one : best));
      const there = send(parent, host, { bytes, at: Math.max(since, parent.has.get(key)) });
      counts[parent === seed ? 'fromSeeds' : 'fromPeers'] += bytes;
      host.has.set(key, there);
      end = Math.max(end, there);
    }
    holders.push(host);
    return end;
  };
  const startAt = (host, key) => Math.max(host.up, host.has.get(key) ?? Number.POSITIVE_INFINITY);

  const throughPeer = (host, request, at) => {
    const { blob, size, offset, length, isWhole } = request;
    let end = at;
    if (!host.known.has(blob)) {
      host.known.add(blob);
      end = fetch(host, 1, at);
    }
    const wanted = piecesOf(size, offset, length);
    if (isWhole && size > SMALLEST_PIECE) return fromPeers(host, request, end);
    for (const { index, bytes } of wanted) {
      const key = `${blob} ${index}`;
      if (!host.has.has(key)) host.has.set(key, fetch(host, bytes, end));
    }
    return Math.max(end, ...wanted.map(({ index }) => host.has.get(`${blob} ${index}`)));
  };

  const release = (node, after, at) => {
    for (const [index, request] of requests.entries())
      if (request.after === after) queue.push({ at: at + request.gap, node, index });
  };
  for (const [node, begin] of begins.entries()) release(node, -1, begin);
  for (let event = queue.pop(); event !== undefined; event = queue.pop()) {
    const { at, node, index } = event;
    const request = requests[index];
    const host = all[node];
    const isShared = hasPeers && request.isForPeer;
    const end = isShared ? throughPeer(host, request, at) : fetch(host, request.length, at);
    ends[node][index] = end;
    release(node, index, end);
  }
  const seconds = ends
    .map((one, node) => (one[readyAfter] ?? begins[node]) + readyGap - begins[node])
    .sort((a, b) => a - b);
  const kept = [...tasks.values()].reduce(
    (sum, { pieces }) => sum + pieces.reduce((total, { bytes }) => total + bytes, 0),
    0,
  );
  return { ...counts, kept, median: seconds[nodes >> 1], slowest: seconds.at(-1) };
}

/** The pieces that bytes of a blob lie in. */
function piecesOf(size, offset, length) {
  const piece = pieceLength(size);
  const pieces = [];
  for (let at = offset - (offset % piece); at < offset + length; at += piece)
    pieces.push({ index: at / piece, bytes: Math.min(piece, size - at) });
  return pieces;
}

/** A machine: when its wire is free, in each direction; when it has which piece; which blobs it knows the size of. */
function createHost(rate) {
  return { rate, up: 0, down: 0, has: new Map(), known: new Set() };
}

const pick = (list, random) => list[Math.floor(random() * list.length)];

/** Numbers from 0 to 1 that are the same each time (xorshift32). */
function createRandom(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Events, the earliest first: a binary heap. */
function createQueue() {
  const heap = [];
  const swap = (a, b) => {
    [heap[a], heap[b]] = [heap[b], heap[a]];
  };
  return {
    push(event) {
      heap.push(event);
      for (let i = heap.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1;
        if (heap[parent].at <= heap[i].at) break;
        swap(i, parent);
        i = parent;
      }
    },
    pop() {
      if (heap.length === 0) return undefined;
      swap(0, heap.length - 1);
      const first = heap.pop();
      for (let i = 0; ; ) {
        const children = [2 * i + 1, 2 * i + 2].filter((one) => one < heap.length);
        const next = children.reduce((best, one) => (heap[one].at < heap[best].at ? one : best), i);
        if (next === i) break;
        swap(i, next);
        i = next;
      }
      return first;
    },
  };
}
