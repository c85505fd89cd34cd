import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { packageFile } from '../../os/package-file.js';
import { addCommonOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatTable } from '../format.js';
import { stdout } from '../stdout.js';

/** `rafter config show | schema` */
export function defineConfig(program: Command, setExitCode: (code: number) => void): void {
  const config = program.command('config').description('what is configured, and where');
  const show = config
    .command('show')
    .description('print every setting that is in force, and what set it')
    .addHelpText(
      'after',
      `
A flag counts more than the environment, that more than the user's file, that more than the system's.

Examples:
  rafter config show
  rafter --config test.yaml config show --json | jq '.settings[] | select(.from == "file")'`,
    );
  addCommonOptions(show).action(async () =>
    setExitCode(
      await withContext(show, async ({ output }) => {
        const [{ loadConfigs }, { effectiveSettings }] = await Promise.all([
          import('../config-file.js'),
          import('../config.js'),
        ]);
        const configs = await loadConfigs();
        const settings = effectiveSettings(show, configs);
        const rows = settings.map(({ key, value, from, name }) => [
          key,
          value === undefined ? '-' : settingText(value),
          name === undefined ? from : `${from} ${name}`,
        ]);
        const files = configs.map(({ file }) => file);
        const found = files.length === 0 ? 'no configuration file' : `files: ${files.join(', ')}`;
        output.result(
          { files, settings },
          `${formatTable([['SETTING', 'VALUE', 'FROM'], ...rows])}\n\n${found}`,
        );
        return EXIT.ok;
      }),
    ),
  );
  config
    .command('schema')
    .description('print the JSON schema of the configuration file, for editors')
    .addHelpText(
      'after',
      `
Example:
  rafter config schema > rafter.schema.json`,
    )
    .action(() => {
      stdout().write(readFileSync(packageFile('docs/config.schema.json')));
    });
}

function settingText(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return String(value);
  return Object.entries(value)
    .map(([key, one]) => `${key}=${one}`)
    .join(' ');
}
