import type { Command } from 'commander';
import { RafterError } from '../../errors.js';
import type { PreheatTraffic } from '../../preheat/preheat.js';
import type { Traffic } from '../../registry/options.js';
import { accessOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatDuration, formatImage } from '../format.js';
import { addImageOptions, type ImageCliOptions } from '../image-options.js';
import { addPeerOption, type PeerCliOptions, peerFor } from '../peer-option.js';
import { createProgress } from '../progress.js';

interface PreheatCliOptions extends ImageCliOptions, PeerCliOptions {
  all: boolean;
}

/** `rafter preheat IMAGE` */
export function definePreheat(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('preheat')
    .description('bring an image into a Dragonfly cluster, so that its nodes start it without the registry')
    .argument('<image>', 'image in a registry that convert, optimize or nydusify wrote')
    .option('--all', 'all of its data, instead of what a start needs', false)
    .addHelpText(
      'after',
      `
Blobs are read whole through the peer, which makes the cluster's seed peers fetch them, checked, and not kept here. What a start
needs is the start-up pack, if the image has one, else the blobs that its prefetch table leads to and those that a start-up profile
names which is attached to it (rafter optimize --attach); and the metadata.

Examples:
  rafter preheat --p2p http://127.0.0.1:4001 registry.example.com/python:3.12-nydus
  rafter preheat --all --json registry.example.com/python:3.12-nydus | jq .broughtBytes`,
    );
  addPeerOption(addImageOptions(command)).action(async (image: string, options: PreheatCliOptions) =>
    setExitCode(await withContext(command, (context) => preheat(context, image, options))),
  );
}

async function preheat(
  { output, signal }: CommandContext,
  image: string,
  options: PreheatCliOptions,
): Promise<number> {
  const p2p = await peerFor(image, options);
  if (p2p === undefined)
    throw new RafterError('USAGE', 'there is no Dragonfly peer to preheat', {
      hint: 'name one with --p2p http://HOST:PORT, RAFTER_P2P or p2p in the configuration file',
    });
  const [{ preheatImage, requirePeer }, { openSource }, { parseRegistryReference }] = await Promise.all([
    import('../../preheat/preheat.js'),
    import('../../transports/open.js'),
    import('../../image/reference.js'),
  ]);
  const traffic: PreheatTraffic = { present: 0, brought: 0, registry: 0 };
  const reference = parseRegistryReference(image, 'only images in registries are read through peers');
  const onTraffic = (event: Traffic) => count(traffic, event);
  const source = openSource(reference, {
    ...accessOptions(options),
    p2p,
    p2pSmallBlobs: true,
    onTraffic,
  });
  const progress = createProgress({ quiet: output.quiet || output.json });
  const startedAt = performance.now();
  try {
    const { all, platform } = options;
    const preheated = await preheatImage(source, {
      platform,
      all,
      signal,
      onProgress: ({ done, total }) => progress.update(image, done, total),
    });
    progress.close();
    requirePeer(p2p, traffic);
    for (const warning of preheated.warnings) output.warn(warning);
    const { present, brought } = traffic;
    const { digest, blobs, bytes } = preheated;
    const time = formatDuration(performance.now() - startedAt);
    output.result(
      { ...preheated, peer: p2p, all, presentBytes: present, broughtBytes: brought },
      `${formatImage(image, digest)}\n${blobs.length} blobs of ${formatBytes(bytes)} read through ${p2p} in ${time}: ` +
        `${formatBytes(present)} were there, ${formatBytes(brought)} it fetched`,
    );
    return EXIT.ok;
  } finally {
    progress.close();
    await source.close();
  }
}

function count(traffic: PreheatTraffic, event: Traffic): void {
  if (event.kind !== 'bytes') return;
  if (event.from === 'registry') traffic.registry += event.count;
  else if (event.wasThere) traffic.present += event.count;
  else traffic.brought += event.count;
}
