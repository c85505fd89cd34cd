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

const WORDS = { works: 'works', other: 'otherwise', fails: 'FAILS', skipped: '-' };

/** `rafter doctor REGISTRY/REPOSITORY` */
export function defineDoctor(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('doctor')
    .description('try at a registry every operation that rafter needs, and say which work')
    .argument('<repository>', 'HOST[:PORT]/NAME, where you may push')
    .addHelpText(
      'after',
      `
Stores a few small blobs and two manifests in the repository and removes them, where the registry lets it. "otherwise" means
that the registry does not offer an operation and rafter does without it. The exit code is 1 if something fails.

Examples:
  rafter doctor registry.example.com/team/scratch
  rafter doctor --json ghcr.io/me/scratch | jq '.diagnoses[] | select(.result == "fails")'`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (repository: string, options: RegistryCliOptions) =>
      setExitCode(await withContext(command, (context) => doctor(context, repository, options))),
  );
}

async function doctor(
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
