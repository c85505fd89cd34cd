import { realpathSync, statSync } from 'node:fs';
import { hostname as machineName } from 'node:os';
import { join, normalize } from 'node:path';
import { RafterError } from '../errors.js';
import type { RunConfig } from '../image/config.js';
import type { StepClock } from '../mount/steps.js';
import { makeDirectoriesSync } from '../os/make-directories.js';
import { mountOverlay } from '../os/overlay.js';
import { resolveCommand } from './command.js';
import { runContainer } from './container.js';
import {
  type ContainerDirectory,
  createContainerDirectory,
  removeStaleContainers,
} from './container-directory.js';
import { thisMachine } from './machine.js';
import { createNetworkFiles } from './network-files.js';
import type { RunOptions } from './options.js';
import { resolveInRoot } from './rooted-path.js';
import { findRunc } from './runc.js';
import { parseSecurityOptions } from './security-options.js';
import { exitCodeOfSignal, relaySignals } from './signal-relay.js';
import { buildSpec } from './spec.js';
import { resolveUser } from './user.js';
import { parseVolume, type Volume } from './volume.js';

/** Docker's short form of a container id, which is its host name. */
const SHORT_ID_LENGTH = 12;

export interface RunRequest {
  /** Tree of the image, mounted and not writable. */
  lower: string;
  /** Member `config` of the image's configuration. */
  config: RunConfig;
  options: RunOptions;
  /** Directory for what lives no longer than the machine runs: runc's state. */
  runDir: string;
  /** Directory on disk, for what the container writes. */
  dataRoot: string;
  /** Aborting it acts as SIGTERM to this process: the container has ten seconds to end. */
  signal?: AbortSignal | undefined;
  /** Hears what the container writes to standard output. Not for one with a terminal. */
  onOutput?: ((bytes: Buffer) => void) | undefined;
  /** Called when the container has ended: `lower` may be taken away. What was mounted over it has a mount of its own. */
  onEnded?: (() => void) | undefined;
  /** Hears how long it takes to prepare the container. */
  clock?: StepClock | undefined;
}

/**
 * Runs an image as a container in the foreground and returns an exit code with the meanings of `docker run`: the
 * container's, 128+n after signal n, 125 to 127 if its process could not be started (runc has then said why on
 * standard error). Signals to this process go to the container. Whatever happens, no mount, process or file is left.
 * Throws before anything is started: USAGE for options that make no sense, NOT_FOUND for an unknown user, UNSUPPORTED
 * without runc; also FAILED or DENIED if mounting or cleaning up fails.
 */
export async function runImage(request: RunRequest): Promise<number> {
  const { config, options, signal, clock } = request;
  const from = clock && performance.now();
  const signals = relaySignals({ abort: signal });
  try {
    const lower = realpathSync(request.lower);
    resolveCommand(config, options);
    checkTerminal(options);
    const volumes = parseVolumes(options);
    const security = await parseSecurityOptions(options.securityOptions ?? []);
    const user = resolveUser(lower, options.user || config.User || '');
    const runc = findRunc();
    for (const { source } of volumes) makeSource(source);

    const runcRoot = join(makeDirectory(request.runDir), 'runc');
    const parent = join(makeDirectory(request.dataRoot), 'containers');
    await removeStaleContainers(parent, runc);
    const directory = createContainerDirectory({ parent, runc, runcRoot });
    try {
      if (signals.pending) return exitCodeOfSignal(signals.pending);
      await mountOverlay({ lower, directory: directory.path, target: directory.rootfs });
      const hostname = options.hostname ?? defaultHostname(options, directory.id);
      const spec = buildSpec({
        config,
        options,
        user,
        hostname,
        volumes: [
          ...supplyFiles(options, directory, hostname).filter(isNotIn(volumes)),
          ...(options.readOnly ? declaredVolumes(config, directory).filter(isNotIn(volumes)) : []),
          ...volumes,
        ],
        security,
        machine: thisMachine(options),
      });
      const stdin = (options.interactive || options.tty) ?? false;
      return await runContainer({
        id: directory.id,
        bundle: directory.path,
        spec,
        runc,
        runcRoot,
        stdin,
        signals,
        onOutput: request.onOutput,
        onStart: from === undefined ? undefined : () => clock?.note('prepare the container', from),
      });
    } finally {
      await directory.remove(request.onEnded);
    }
  } finally {
    signals.stop();
  }
}

function checkTerminal({ tty }: RunOptions): void {
  if (tty && !process.stdin.isTTY && !process.stdout.isTTY && !process.stderr.isTTY)
    throw new RafterError('USAGE', '-t needs a terminal, and neither input nor output is one', {
      hint: 'leave out -t',
    });
}

function parseVolumes({ volumes = [] }: RunOptions): Volume[] {
  const parsed = volumes.map(parseVolume);
  const twice = parsed.find(
    ({ destination }, i) => parsed.findIndex((v) => v.destination === destination) < i,
  );
  if (twice) throw new RafterError('USAGE', `two volumes are at ${twice.destination}`);
  return parsed;
}

/** As Docker, makes a directory where a volume's source is missing. */
function makeSource(source: string): void {
  if (statSync(source, { throwIfNoEntry: false }) === undefined) makeDirectoriesSync(source);
}

/** Paths of mounts must not depend on symbolic links, or they are not found again in the mount table. */
function makeDirectory(path: string): string {
  makeDirectoriesSync(path, 0o711);
  return realpathSync(path);
}

function defaultHostname({ network = 'host' }: RunOptions, id: string): string {
  return network === 'host' ? machineName() : id.slice(-SHORT_ID_LENGTH);
}

function supplyFiles(options: RunOptions, { path }: ContainerDirectory, hostname: string): Volume[] {
  const { network = 'host', readOnly = false } = options;
  return createNetworkFiles({ directory: path, network, hostname, readOnly });
}

/**
 * The volumes that the image declares, writable although its root file system is not. The overlay under it is, so the
 * image's own directory serves, with what is in it.
 */
function declaredVolumes({ Volumes }: RunConfig, { path, rootfs }: ContainerDirectory): Volume[] {
  return Object.keys(Volumes ?? {})
    .map((name) => normalize(join('/', name)).replace(/\/+$/, ''))
    .filter((destination) => destination !== '')
    .flatMap((destination, i) => {
      const source = resolveInRoot(rootfs, destination) ?? makeDirectory(join(path, 'volumes', String(i)));
      return statSync(source).isDirectory() ? [{ source, destination, readOnly: false }] : [];
    });
}

const isNotIn = (volumes: readonly Volume[]) => (candidate: Volume) =>
  !volumes.some(({ destination }) => destination === candidate.destination);
