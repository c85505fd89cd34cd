import { type Command, InvalidArgumentError } from 'commander';
import { RafterError } from '../errors.js';
import type { LoadedConfig } from './config-file.js';
import { SETTINGS, type Setting } from './config-schema.js';

/** A value that is in force, and who said so. */
export interface EffectiveSetting {
  /** `convert.level` */
  key: string;
  value: unknown;
  from: 'flag' | 'environment' | 'file' | 'default';
  /** The flag, the variable or the file. */
  name?: string;
}

/** What `configs`, of which the last counts most, say about a setting. */
function valueIn(
  configs: readonly LoadedConfig[],
  { path }: Setting,
): { value: unknown; file: string } | undefined {
  for (const { file, values } of configs.toReversed()) {
    const value = path.reduce<unknown>(
      (at, word) => (at as Record<string, unknown> | undefined)?.[word],
      values,
    );
    if (value !== undefined) return { value, file };
  }
  return undefined;
}

/**
 * Gives the options of `command` that nobody has set, neither on the command line nor in the environment, what the configuration
 * files say. Throws USAGE that names file and key for a value that the option does not take.
 */
export function applyConfig(command: Command, configs: readonly LoadedConfig[]): void {
  for (const setting of SETTINGS) {
    const found = valueIn(configs, setting);
    if (found === undefined || (setting.command ?? command.name()) !== command.name()) continue;
    const option = command.options.find(({ long }) => long === `--${setting.option}`);
    const attribute = option?.attributeName();
    if (option === undefined || attribute === undefined || isSet(command, attribute)) continue;
    const { value, file } = found;
    try {
      // What is made of several values no option can say; the file's schema has looked at it.
      const isPlain = typeof value !== 'object';
      const parsed = option.parseArg && isPlain ? option.parseArg(String(value), undefined as never) : value;
      command.setOptionValueWithSource(attribute, parsed, 'config');
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new RafterError('USAGE', `${file}: ${setting.path.join('.')}: ${error.message}`);
    }
  }
}

/** True if the command line or the environment has set it. */
function isSet(command: Command, attribute: string): boolean {
  return ['cli', 'env'].includes(command.getOptionValueSource(attribute) ?? '');
}

/** All settings as they are in force for `command`, the one that asks. */
export function effectiveSettings(
  command: Command,
  configs: readonly LoadedConfig[],
  env: NodeJS.ProcessEnv = process.env,
): EffectiveSetting[] {
  return SETTINGS.map((setting) => {
    const key = setting.path.join('.');
    const option = command.options.find(({ long }) => long === `--${setting.option}`);
    const attribute = option?.attributeName();
    if (attribute !== undefined && command.getOptionValueSource(attribute) === 'cli')
      return { key, value: command.getOptionValue(attribute), from: 'flag', name: `--${setting.option}` };
    const fromEnv = setting.env === undefined ? undefined : env[setting.env];
    if (fromEnv !== undefined) return { key, value: fromEnv, from: 'environment', name: setting.env! };
    const found = valueIn(configs, setting);
    if (found !== undefined) return { key, value: found.value, from: 'file', name: found.file };
    return { key, value: setting.initial, from: 'default' };
  });
}
