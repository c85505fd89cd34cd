import type { Command } from 'commander';
import type { DoctorReport } from '../../registry/doctor.js';
import {
  accessOptions,
  addCommonOptions,
  addRegistryOptions,
  type CommandContext,
  type RegistryCliOptions,
  withContext,
} from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatTable } from '../format.js';
import type { Finding } from '../machine-checks.js';

const WORDS = { works: 'works', other: 'otherwise', fails: 'FAILS', skipped: '-' };
const STATUS_WORDS = { ok: 'ok', limited: 'limited', missing: 'MISSING' };

/** `rafter doctor [REGISTRY/REPOSITORY]` */
export function defineDoctor(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('doctor')
    .description(
      'say what of this machine or of a registry would keep rafter from working, and what mends it',
    )
    .argument('[repository]', 'HOST[:PORT]/NAME, where you may push; without it, this machine is looked at')
    .addHelpText(
      'after',
      `
Without an argument: looks at kernel, rights, programs and directories, and changes nothing. The exit code is 6 if something
is missing; "limited" means that rafter works, in another or slower way.

With a repository: tries every operation that rafter needs. Stores a few small blobs and two manifests there and removes
them, where the registry lets it. "otherwise" means that the registry does not offer an operation and rafter does without
it. The exit code is 1 if something fails.

Examples:
  rafter doctor
  rafter doctor registry.example.com/team/scratch
  rafter doctor --json ghcr.io/me/scratch | jq '.diagnoses[] | select(.result == "fails")'`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (repository: string | undefined, options: RegistryCliOptions) =>
      setExitCode(
        await withContext(command, (context) =>
          repository === undefined ? lookAtMachine(context) : tryRegistry(context, repository, options),
        ),
      ),
  );
}

async function lookAtMachine({ options, output }: CommandContext): Promise<number> {
  const [{ checkMachine }, { thisMachine }, { zstd }, { loadBinding }] = await Promise.all([
    import('../machine-checks.js'),
    import('../../os/machine.js'),
    import('../../codec/natives.js'),
    import('../../fuse/native-binding.js'),
  ]);
  const load = (name: 'zstd-napi' | 'fuse-native') => (name === 'zstd-napi' ? zstd() : loadBinding());
  const { dataRoot, runDir } = options;
  const findings = checkMachine(thisMachine(), { dataRoot, runDir, load });
  const isReady = findings.every(({ status }) => status !== 'missing');
  output.result({ ready: isReady, findings }, machineText(findings));
  return isReady ? EXIT.ok : EXIT.unsupported;
}

function machineText(findings: Finding[]): string {
  const rows = findings.map(({ check, status, found, needed }) => [
    check,
    STATUS_WORDS[status],
    found,
    needed.join(', '),
  ]);
  const problems = findings
    .filter(({ status }) => status !== 'ok')
    .flatMap(({ check, meaning, remedy }) => ['', `${check}: ${meaning}`, `  ${remedy}`]);
  return [formatTable([['CHECK', 'STATE', 'FOUND', 'NEEDED BY'], ...rows]), ...problems].join('\n');
}

async function tryRegistry(
  { output, signal }: CommandContext,
  repository: string,
  options: RegistryCliOptions,
): Promise<number> {
  const [{ diagnose }, { parseRegistryReference }] = await Promise.all([
    import('../../registry/doctor.js'),
    import('../../image/reference.js'),
  ]);
  const reference = parseRegistryReference(repository, 'not a repository of a registry');
  const report = await diagnose(reference, { ...accessOptions(options), signal });
  output.result(report, reportText(report));
  return report.diagnoses.some(({ result }) => result === 'fails') ? EXIT.failed : EXIT.ok;
}

function reportText({ name, kind, diagnoses, left }: DoctorReport): string {
  const rows = [
    ['OPERATION', 'RESULT', 'DETAIL'],
    ...diagnoses.map(({ operation, result, detail }) => [operation, WORDS[result], detail]),
  ];
  const rest =
    left.length === 0 ? [] : ['', `left there, the registry does not let go of it: ${left.join(', ')}`];
  return [`${name} (${kind})`, '', formatTable(rows), ...rest].join('\n');
}
