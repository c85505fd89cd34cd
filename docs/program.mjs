// The command line as data, for the pages and manual pages that are made of it.

/** Every command that can be run, with its words and what its help holds. */
export function listCommands(program) {
  const walk = (command, words) =>
    command.commands.flatMap((one) => {
      const all = [...words, one.name()];
      if (one.name() === 'help') return [];
      return one.commands.length > 0 ? walk(one, all) : [describe(one, all)];
    });
  return walk(program, []);
}

/** Options of the program itself, which stand before the command. */
export function listGlobalOptions(program) {
  return program.options.map(describeOption);
}

function describe(command, words) {
  return {
    name: words.join(' '),
    description: command.description(),
    usage: `rafter ${words.join(' ')} ${command.usage()}`,
    arguments: command.registeredArguments.map((one) => ({
      name: one.name(),
      description: one.description + defaultText(one),
    })),
    options: command.options.filter(({ hidden }) => !hidden).map(describeOption),
    ...helpText(command),
  };
}

function describeOption(option) {
  const choices = option.argChoices ? ` (${option.argChoices.join(', ')})` : '';
  const env = option.envVar ? ` (environment: ${option.envVar})` : '';
  return { flags: option.flags, description: option.description + choices + defaultText(option) + env };
}

function defaultText({ defaultValue }) {
  const isSaid = defaultValue !== undefined && defaultValue !== false && String(defaultValue) !== '';
  return isSaid ? ` (default: ${defaultValue})` : '';
}

/** What stands below the options in the help: paragraphs, and the examples. */
function helpText(command) {
  let help = '';
  command.configureOutput({ writeOut: (piece) => (help += piece) });
  command.outputHelp();
  const after = help.slice(help.indexOf('display help for command') + 'display help for command'.length);
  const at = after.search(/^Examples?:$/m);
  const notes = (at < 0 ? after : after.slice(0, at)).trim();
  const examples = at < 0 ? '' : after.slice(at).replace(/^Examples?:\n/, '');
  return { notes, examples: examples.replaceAll(/^ {2}/gm, '').trimEnd() };
}
