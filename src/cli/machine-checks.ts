import type { DirectoryFacts, Machine } from '../os/machine.js';
import { formatBytes } from './format.js';

/** One thing that was looked at on this machine. */
export interface Finding {
  check: string;
  /** `limited`: rafter works, in another or slower way; `missing`: what `needed` names does not work. */
  status: 'ok' | 'limited' | 'missing';
  /** Commands that it matters for. */
  needed: string[];
  /** What was found. */
  found: string;
  /** What follows from it; not for `ok`. */
  meaning?: string;
  /** What mends it, mostly a command; not for `ok`. */
  remedy?: string;
}

/** What the checks need besides the machine. */
export interface MachineCheckOptions {
  /** Absolute. */
  dataRoot: string;
  /** Absolute. */
  runDir: string;
  /** Loads a native package; throws if it cannot be. */
  load: (name: 'zstd-napi' | 'fuse-native') => void;
}

type Check = (machine: Machine, options: MachineCheckOptions) => Finding;
type Problem = Pick<Finding, 'meaning' | 'remedy'> & { status: 'limited' | 'missing' };

const EVERYTHING = ['every command'];
const CONVERTING = ['convert', 'optimize', 'mount', 'run', 'check'];
const MOUNTING = ['mount', 'run'];

/** Less than this and a conversion or the cache is soon in trouble. */
const LITTLE_SPACE = 1e9;
/** Less than this and nothing can be kept. */
const NO_SPACE = 50e6;
/** Certificates of today are not valid before. */
const OLDEST_CLOCK = Date.UTC(2026, 0, 1);
const GROUP_AND_OTHERS_WRITE = 0o022;

/** Looks at everything that could keep rafter from working, most basic first. Nothing is changed. */
export function checkMachine(machine: Machine, options: MachineCheckOptions): Finding[] {
  return CHECKS.map((check) => check(machine, options));
}

const CHECKS: Check[] = [
  ({ node }) =>
    finding('Node.js', EVERYTHING, node, [
      isOlder(node.split('.').map(Number), [20, 12]) && {
        status: 'missing',
        meaning: 'rafter needs Node.js 20.12 or newer',
        remedy: 'install a newer Node.js, from nodejs.org or the packages of your distribution',
      },
    ]),
  (_, { load }) => native('zstd-napi', CONVERTING, load),
  ({ now }) =>
    finding('clock', ['every command with a registry'], new Date(now).toISOString().slice(0, 19), [
      now < OLDEST_CLOCK && {
        status: 'missing',
        meaning: 'certificates of registries are not valid yet at this time',
        remedy: 'timedatectl set-ntp true',
      },
    ]),
  ({ kernel }) =>
    finding('kernel', MOUNTING, `Linux ${kernel.join('.')}`, [
      isOlder(kernel, [4, 20]) && {
        status: 'missing',
        meaning: 'its FUSE is too old for the driver fuse',
        remedy: 'use a kernel from 4.20 on',
      },
      isOlder(kernel, [6, 9]) && {
        status: 'limited',
        meaning: 'when the daemon dies, reads that it was just answering have to be interrupted (before 6.9)',
        remedy: 'use a kernel from 6.12 on',
      },
    ]),
  (machine) =>
    finding('EROFS', MOUNTING, erofsWords(machine), [
      machine.fileSystem('erofs') === 'missing' && {
        status: 'limited',
        meaning: 'mounts use the driver fuse, where every lookup asks the daemon',
        remedy: 'use a kernel with CONFIG_EROFS_FS, or install its modules (linux-modules-extra)',
      },
      isOlder(machine.kernel, [5, 16]) && {
        status: 'limited',
        meaning: 'EROFS has one device before 5.16: mounts use the driver fuse',
        remedy: 'use a kernel from 6.12 on',
      },
      isOlder(machine.kernel, [6, 12]) &&
        machine.device('/dev/loop-control') !== true && {
          status: 'limited',
          meaning:
            'EROFS does not take files before 6.12, and there are no loop devices: mounts use the driver fuse',
          remedy: 'modprobe loop, or use a kernel from 6.12 on',
        },
      isOlder(machine.kernel, [6, 12]) && {
        status: 'limited',
        meaning: 'EROFS does not take files before 6.12: mounts take a loop device for each blob',
        remedy: 'use a kernel from 6.12 on',
      },
    ]),
  (machine) =>
    finding('FUSE', MOUNTING, machine.fileSystem('fuse'), [
      machine.fileSystem('fuse') === 'missing' && {
        status: 'missing',
        meaning: 'no image can be mounted',
        remedy: 'use a kernel with CONFIG_FUSE_FS',
      },
    ]),
  (machine) => {
    const usable = machine.device('/dev/fuse');
    return finding('/dev/fuse', MOUNTING, usable ? 'ready' : usable === undefined ? 'missing' : 'no access', [
      usable === undefined && {
        status: 'missing',
        meaning: 'no image can be mounted',
        remedy: 'modprobe fuse; in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN',
      },
      usable === false && {
        status: 'missing',
        meaning: 'this user may not open it',
        remedy: 'sudo chmod 666 /dev/fuse, or run rafter as root',
      },
    ]);
  },
  ({ mayMount, euid }) =>
    finding('rights', MOUNTING, euid === 0 ? 'root' : `user ${euid}`, [
      euid !== 0 && {
        status: 'limited',
        meaning: 'mount works through libfuse only, without a supervisor; run does not work',
        remedy: 'sudo rafter ...',
      },
      !mayMount && {
        status: 'missing',
        meaning: 'root without CAP_SYS_ADMIN may not mount',
        remedy: 'docker run --cap-add SYS_ADMIN (and --security-opt apparmor=unconfined)',
      },
    ]),
  (machine) =>
    finding('fusermount', ['mount without root'], machine.program('fusermount') ?? 'missing', [
      machine.program('fusermount') === undefined && {
        status: machine.euid === 0 ? 'limited' : 'missing',
        meaning: 'users other than root cannot mount',
        remedy: 'sudo apt-get install fuse3',
      },
    ]),
  ({ euid }, { load }) => native('fuse-native', ['mount without root'], load, euid === 0),
  (machine) =>
    finding('overlayfs', ['run'], machine.fileSystem('overlay'), [
      machine.fileSystem('overlay') === 'missing' && {
        status: 'missing',
        meaning: 'containers have nowhere to write',
        remedy: 'use a kernel with CONFIG_OVERLAY_FS',
      },
    ]),
  (machine) =>
    finding('runc', ['run'], machine.program('runc') ?? 'missing', [
      machine.program('runc') === undefined && {
        status: 'missing',
        meaning: 'no container can be run',
        remedy: 'sudo apt-get install runc',
      },
    ]),
  (machine) =>
    finding('cgroups', ['run'], machine.hasMountOf('cgroup', 'cgroup2') ? 'mounted' : 'not mounted', [
      !machine.hasMountOf('cgroup', 'cgroup2') && {
        status: 'missing',
        meaning: 'runc cannot make a group for the processes of a container',
        remedy: 'sudo mount -t cgroup2 none /sys/fs/cgroup',
      },
    ]),
  (machine, { runDir }) => {
    const facts = machine.directory(runDir);
    return finding('run directory', MOUNTING, directoryWords(runDir, facts), [
      ...directoryProblems(facts, '--run-dir'),
      facts.exists &&
        (facts.uid !== machine.euid || (facts.mode & GROUP_AND_OTHERS_WRITE) !== 0) && {
          status: 'missing',
          meaning: 'others could put their own socket there, so it is refused',
          remedy: `sudo chown ${machine.euid} ${runDir} && sudo chmod 700 ${runDir}`,
        },
    ]);
  },
  (machine, { dataRoot }) => {
    const facts = machine.directory(dataRoot);
    return finding('data root', CONVERTING, directoryWords(dataRoot, facts), [
      ...directoryProblems(facts, '--data-root'),
      facts.exists &&
        (facts.mode & GROUP_AND_OTHERS_WRITE) !== 0 && {
          status: 'missing',
          meaning: 'others could put files there that rafter takes for its own',
          remedy: `sudo chmod go-w ${dataRoot}`,
        },
    ]);
  },
  (machine, { dataRoot }) => {
    const { free } = machine.directory(dataRoot);
    const remedy = 'rafter cache prune --all, or another --data-root';
    return finding('free space', CONVERTING, `${formatBytes(free)} for ${dataRoot}`, [
      free < NO_SPACE && { status: 'missing', meaning: 'nothing that is fetched can be kept', remedy },
      free < LITTLE_SPACE && { status: 'limited', meaning: 'the cache is full soon', remedy },
    ]);
  },
];

/** The first problem decides; there is none if all are false. */
function finding(
  check: string,
  needed: string[],
  found: string,
  problems: readonly (Problem | false)[],
): Finding {
  const problem = problems.find((one) => one !== false);
  return { check, status: 'ok', needed, found, ...problem };
}

function native(
  name: 'zstd-napi' | 'fuse-native',
  needed: string[],
  load: MachineCheckOptions['load'],
  canDoWithout = false,
): Finding {
  try {
    load(name);
    return finding(name, needed, 'loads', []);
  } catch (error) {
    return finding(name, needed, `does not load: ${firstCause(error)}`, [
      {
        status: canDoWithout ? 'limited' : 'missing',
        meaning:
          'npm could not build it when rafter was installed, or what it was built for is not here any more',
        remedy: 'sudo apt-get install gcc g++ make python3, then install rafter again',
      },
    ]);
  }
}

/** What went wrong at the very beginning, in one line. */
function firstCause(error: unknown): string {
  let first = error;
  while (first instanceof Error && first.cause !== undefined) first = first.cause;
  return (first instanceof Error ? first.message : String(first)).split('\n', 1)[0]!;
}

function directoryProblems(facts: DirectoryFacts, option: string): (Problem | false)[] {
  return [
    !facts.isDirectory && {
      status: 'missing',
      meaning: `${facts.path} is not a directory`,
      remedy: `choose another with ${option}`,
    },
    !facts.writable && {
      status: 'missing',
      meaning: facts.exists ? 'this user may not write there' : `it cannot be created in ${facts.path}`,
      remedy: `run rafter as root, or choose a directory of your own with ${option}`,
    },
  ];
}

function directoryWords(wanted: string, { exists }: DirectoryFacts): string {
  return exists ? wanted : `${wanted} (not there yet)`;
}

function erofsWords(machine: Machine): string {
  return isOlder(machine.kernel, [6, 12])
    ? `${machine.fileSystem('erofs')}, Linux ${machine.kernel.join('.')}`
    : machine.fileSystem('erofs');
}

function isOlder(
  [major = 0, minor = 0]: readonly number[],
  [wantedMajor, wantedMinor]: readonly [number, number],
): boolean {
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}
