// All generated files, by their path in the checkout.
import { toJsonSchema } from '@valibot/to-json-schema';
import { makeDashboard } from './grafana.mjs';
import { commandManual, programManual } from './man.mjs';
import { commandIndex, commandPage, jsonPage, pageName } from './markdown.mjs';
import { listCommands, listGlobalOptions } from './program.mjs';

/** Text of every generated file. Those in man/ are packed and not checked in. */
export function makePages(program, { configSchema, outputSchemas, errorSchema }) {
  const commands = listCommands(program);
  const globalOptions = listGlobalOptions(program);
  const about = { description: program.description(), version: program.version() };
  const pages = {
    'docs/config.schema.json': `${JSON.stringify({ title: 'Configuration of rafter', ...toJsonSchema(configSchema) }, null, 2)}\n`,
    'docs/grafana.json': `${JSON.stringify(makeDashboard(), null, 2)}\n`,
    'docs/commands/README.md': commandIndex(commands, globalOptions),
    'docs/json.md': jsonPage(mapValues(outputSchemas, toJsonSchema), toJsonSchema(errorSchema)),
  };
  for (const command of commands) {
    pages[`docs/commands/${pageName(command.name)}`] = commandPage(command);
    const { file, text } = commandManual(command, about.version);
    pages[`man/${file}`] = text;
  }
  const { file, text } = programManual(about, commands, globalOptions);
  pages[`man/${file}`] = text;
  return pages;
}

const mapValues = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
