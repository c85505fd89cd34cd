import { isAbsolute, join } from 'node:path';
import { RafterError } from '../errors.js';
import type { RunConfig } from '../image/config.js';
import { resolveCommand } from './command.js';
import {
  DEFAULT_CAPABILITIES,
  DEFAULT_MOUNTS,
  MASKED_PATHS,
  OPEN_FILES_HARD,
  OPEN_FILES_SOFT,
  OWN_NETWORK_SYSCTL,
  READONLY_PATHS,
} from './docker-defaults.js';
import { buildEnvironment } from './environment.js';
import type { RunOptions } from './options.js';
import type { RuntimeMount, RuntimeSpec } from './runtime-spec.js';
import { resolveProfile } from './seccomp-profile.js';
import type { SecurityOptions } from './security-options.js';
import type { ContainerUser } from './user.js';
import type { Volume } from './volume.js';

export interface SpecInput {
  /** Member `config` of the image's configuration. */
  config: RunConfig;
  options: RunOptions;
  user: ContainerUser;
  hostname: string;
  /** Bind mounts in the order in which they were asked for. */
  volumes: readonly Volume[];
  security: SecurityOptions;
  /** The machine that the container runs on. */
  machine: Machine;
}

/** What of the machine and the caller goes into a container. */
export interface Machine {
  /** The caller's environment, for `-e NAME`. */
  env: Readonly<Record<string, string | undefined>>;
  /** `process.arch`. */
  arch: string;
  /** Release of the kernel, as uname(2) has it. */
  kernel: string;
  /** Directories that tell how hot processors are. */
  throttleDirectories: readonly string[];
  /** Most open files that this process may allow others. */
  openFilesLimit: number;
  /** Mounts below a read-only bind mount can be made read-only with it (mount_setattr, Linux 5.12). */
  recursiveReadOnly: boolean;
  /** Size of the caller's terminal. */
  terminal?: { height: number; width: number } | undefined;
}

/**
 * The OCI runtime configuration of one container, with Docker's defaults, for a root file system at `rootfs` beside the
 * file. USAGE if there is no command or the working directory is not absolute.
 */
export function buildSpec({
  config,
  options,
  user,
  hostname,
  volumes,
  security,
  machine,
}: SpecInput): RuntimeSpec {
  const { tty = false, network = 'host', readOnly = false } = options;
  return {
    ociVersion: '1.0.2',
    hostname,
    root: { path: 'rootfs', readonly: readOnly },
    process: {
      terminal: tty,
      ...(tty && machine.terminal ? { consoleSize: machine.terminal } : {}),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: resolveCommand(config, options),
      env: buildEnvironment({
        image: config.Env ?? [],
        user: options.env ?? [],
        caller: machine.env,
        hostname,
        home: user.home,
        tty,
      }),
      cwd: workingDirectory(config, options),
      capabilities: capabilitiesOf(user),
      rlimits: [openFiles(machine.openFilesLimit)],
      noNewPrivileges: security.noNewPrivileges,
    },
    mounts: [...DEFAULT_MOUNTS, ...sortByDepth(volumes).map((volume) => bindMount(volume, machine))],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'cgroup', ...(network === 'none' ? ['network'] : [])].map(
        (type) => ({ type }),
      ),
      // The runtime adds the devices that every container has.
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      sysctl: network === 'none' ? { ...OWN_NETWORK_SYSCTL } : {},
      maskedPaths: [...MASKED_PATHS, ...machine.throttleDirectories],
      readonlyPaths: READONLY_PATHS,
      ...(security.seccomp && {
        seccomp: resolveProfile(security.seccomp, {
          arch: machine.arch,
          kernel: machine.kernel,
          capabilities: DEFAULT_CAPABILITIES,
        }),
      }),
    },
  };
}

function workingDirectory(config: RunConfig, { workdir }: RunOptions): string {
  if (workdir === undefined || workdir === '') return join('/', config.WorkingDir ?? '');
  if (!isAbsolute(workdir))
    throw new RafterError('USAGE', `working directory '${workdir}' is not an absolute path`);
  return workdir;
}

/** Another user than root holds no capability, as after execve(2), but a setuid program may get them. */
function capabilitiesOf({ uid }: ContainerUser): RuntimeSpec['process']['capabilities'] {
  const all = DEFAULT_CAPABILITIES;
  return uid === 0 ? { bounding: all, effective: all, permitted: all } : { bounding: all };
}

function openFiles(limit: number): RuntimeSpec['process']['rlimits'][number] {
  const hard = Math.min(limit, OPEN_FILES_HARD);
  return { type: 'RLIMIT_NOFILE', soft: Math.min(hard, OPEN_FILES_SOFT), hard };
}

/** A mount must come before those inside it. */
function sortByDepth(volumes: readonly Volume[]): Volume[] {
  const depth = ({ destination }: Volume) => destination.split('/').length;
  return [...volumes].sort((a, b) => depth(a) - depth(b));
}

function bindMount({ source, destination, readOnly }: Volume, machine: Machine): RuntimeMount {
  const access = readOnly ? ['ro', ...(machine.recursiveReadOnly ? ['rro'] : [])] : ['rw'];
  return { destination, type: 'bind', source, options: ['rbind', 'rprivate', ...access] };
}
