import { type Command, InvalidArgumentError, Option } from 'commander';

/** Key of the peer for registries that are not named. No reference can name a registry that is called so. */
const OTHERS = 'default';
const NO_PEER = 'off';

/** A Dragonfly peer, `off` for none, or one of both for each registry, with `default` for those that are not named. */
type PeerSetting = string | Record<string, string>;

/** The option of commands that read blobs through peers. */
export interface PeerCliOptions {
  /** Only the configuration file has one for each registry. */
  p2p?: PeerSetting;
}

/** Adds the option of `PeerCliOptions`. */
export function addPeerOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--p2p <url>',
      'read blobs through the Dragonfly peer of this node, as in http://127.0.0.1:4001; off: not through any',
    )
      .env('RAFTER_P2P')
      .argParser(parsePeer),
  );
}

/** URL of the peer that blobs of `image` are read through; undefined: through none. USAGE if `image` is no reference. */
export async function peerFor(image: string, { p2p }: PeerCliOptions): Promise<string | undefined> {
  const url = p2p === undefined || typeof p2p === 'string' ? p2p : await peerOfRegistry(image, p2p);
  return url === NO_PEER ? undefined : url;
}

async function peerOfRegistry(image: string, peers: Record<string, string>): Promise<string | undefined> {
  const [{ parseReference }, { familiarHost }] = await Promise.all([
    import('../image/reference.js'),
    import('../registry/hosts/server-name.js'),
  ]);
  const reference = parseReference(image);
  if (reference.transport !== 'registry') return undefined;
  const wanted = familiarHost(reference.registry);
  const named = Object.entries(peers).find(([host]) => familiarHost(host) === wanted);
  return named?.[1] ?? peers[OTHERS];
}

function parsePeer(text: string): string {
  if (text === NO_PEER) return text;
  if (!/^https?:\/\/[^\s/?#@]+\/?$/i.test(text) || !URL.canParse(text))
    throw new InvalidArgumentError('It must be http://HOST:PORT, the proxy port of dfdaemon, or off.');
  return text;
}
