import type { Argument, Command, Option } from 'commander';

/** What may stand where a word is completed. */
type Kind = 'file' | 'directory' | 'image' | 'nothing';

/** One command with what a shell needs to know of it. */
interface Completed {
  /** Words after the program's name; none for the program itself. */
  words: string[];
  description: string;
  subcommands: Command[];
  options: Option[];
  arguments: readonly Argument[];
}

const SHELLS = { bash, zsh, fish };

/** Shells that there is a completion for. */
export const SHELL_NAMES = Object.keys(SHELLS) as (keyof typeof SHELLS)[];

/** A script that lets `shell` complete the command line of `program`: commands, options, their choices, files. */
export function completionScript(shell: keyof typeof SHELLS, program: Command): string {
  return SHELLS[shell](program.name(), describe(program));
}

function describe(command: Command, words: string[] = []): Completed[] {
  return [
    {
      words,
      description: command.description(),
      subcommands: [...command.commands],
      options: command.options.filter(({ hidden }) => !hidden),
      arguments: command.registeredArguments,
    },
    ...command.commands.flatMap((one) => describe(one, [...words, one.name()])),
  ];
}

/** What an option's value is, by the name that its description gives it. */
function kindOf(name: string): Kind {
  if (/file|trace/.test(name)) return 'file';
  if (/dir/.test(name)) return 'directory';
  return /image|source|target|before|after/.test(name) ? 'image' : 'nothing';
}

function parameterOf(option: Option): { takesValue: boolean; kind: Kind; choices: readonly string[] } {
  const [, name = ''] = /[<[](\S+?)(?:\.\.\.)?[>\]]/.exec(option.flags) ?? [];
  return { takesValue: name !== '', kind: kindOf(name), choices: option.argChoices ?? [] };
}

/** In single quotes, for all three shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function bash(name: string, commands: Completed[]): string {
  const tables = commands.map(({ words, subcommands, options }) => {
    const path = quote(words.join(' '));
    const flags = options.flatMap(({ long, short }) => [long, short]).filter((flag) => flag !== undefined);
    const names = subcommands.map((one) => one.name());
    return `    ${path}) words=${quote([...names, ...flags, '--help'].join(' '))} ;;`;
  });
  const values = commands.flatMap(({ words, options }) =>
    options.flatMap((option) => {
      const { takesValue, kind, choices } = parameterOf(option);
      if (!takesValue) return [];
      const patterns = [option.long, option.short]
        .filter((flag) => flag !== undefined)
        .map((flag) => quote(`${words.join(' ')}:${flag}`));
      const action =
        choices.length > 0
          ? `COMPREPLY=($(compgen -W ${quote(choices.join(' '))} -- "$current"))`
          : kind === 'directory'
            ? 'COMPREPLY=($(compgen -d -- "$current"))'
            : kind === 'nothing'
              ? 'COMPREPLY=()'
              : 'COMPREPLY=($(compgen -f -- "$current"))';
      return [`    ${patterns.join('|')}) ${action}; return ;;`];
    }),
  );
  const paths = commands.filter(({ words }) => words.length > 0).map(({ words }) => quote(words.join(' ')));
  return `# bash completion for ${name}: ${name} completion bash > /etc/bash_completion.d/${name}
_${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} path='' next words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${path:+$path }\${COMP_WORDS[i]}"
    case $next in
    ${paths.join(' | ')}) path=$next ;;
    esac
  done
  case "$path:$previous" in
${values.join('\n')}
  esac
  case $path in
${tables.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ $current == -* ]] || COMPREPLY+=($(compgen -f -- "$current"))
}
complete -o filenames -F _${name} ${name}
`;
}

function zsh(name: string, commands: Completed[]): string {
  const functionOf = (words: string[]) => `_${[name, ...words].join('_')}`;
  const escapeSpec = (text: string) => text.replaceAll(/[[\]:\\]/g, (letter) => `\\${letter}`);
  const actions: Record<Kind, string> = {
    file: '_files',
    directory: '_directories',
    image: '_files',
    nothing: ' ',
  };
  const spec = (option: Option) => {
    const { takesValue, kind, choices } = parameterOf(option);
    const flags = [option.short, option.long].filter((flag) => flag !== undefined);
    const head = flags.length > 1 ? `'(${flags.join(' ')})'{${flags.join(',')}}` : flags[0]!;
    const action = choices.length > 0 ? `(${choices.join(' ')})` : actions[kind];
    const tail = `[${escapeSpec(option.description)}]${takesValue ? `:value:${action}` : ''}`;
    return `    ${head}${quote(tail)} \\`;
  };
  const functions = commands.map(({ words, subcommands, options, arguments: args }) => {
    const specs = options.map(spec);
    if (subcommands.length > 0) {
      const names = subcommands.map(
        (one) => `    ${quote(`${one.name()}:${escapeSpec(one.description())}`)}`,
      );
      const cases = subcommands.map((one) => `    ${one.name()}) ${functionOf([...words, one.name()])} ;;`);
      return `${functionOf(words)}() {
  local -a commands=(
${names.join('\n')}
  )
  local state line
  _arguments -C \\
${specs.join('\n')}
    '1: :->command' '*:: :->rest'
  case $state in
  command) _describe command commands ;;
  rest)
    case $line[1] in
${cases.join('\n')}
    esac ;;
  esac
}`;
    }
    const places = args.map((one) => {
      const kind = kindOf(one.name());
      return `    '${one.variadic ? '*' : ''}:${one.name()}:${actions[kind === 'nothing' ? 'file' : kind]}' \\`;
    });
    return `${functionOf(words)}() {
  _arguments \\
${[...specs, ...places].join('\n')}
    '--help[print the help]'
}`;
  });
  return `#compdef ${name}
# zsh completion for ${name}: ${name} completion zsh > "\${fpath[1]}/_${name}"
${functions.join('\n')}
if [ "$funcstack[1]" = _${name} ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fish(name: string, commands: Completed[]): string {
  const lines = commands.flatMap(({ words, subcommands, options }) => {
    const used = words.map((word) => `__fish_seen_subcommand_from ${word}`);
    const here = words.length === 0 ? '__fish_use_subcommand' : used.join('; and ');
    const free =
      subcommands.length > 0 && words.length > 0
        ? `${here}; and not __fish_seen_subcommand_from ${subcommands.map((one) => one.name()).join(' ')}`
        : here;
    return [
      ...subcommands.map(
        (one) => `complete -c ${name} -n ${quote(free)} -f -a ${one.name()} -d ${quote(one.description())}`,
      ),
      ...options.map((option) => {
        const { takesValue, choices } = parameterOf(option);
        const parts = [
          option.short === undefined ? '' : ` -s ${option.short.slice(1)}`,
          option.long === undefined ? '' : ` -l ${option.long.slice(2)}`,
          takesValue ? ' -r' : '',
          choices.length === 0 ? '' : ` -f -a ${quote(choices.join(' '))}`,
        ];
        return `complete -c ${name} -n ${quote(here)}${parts.join('')} -d ${quote(option.description)}`;
      }),
    ];
  });
  return `# fish completion for ${name}: ${name} completion fish > ~/.config/fish/completions/${name}.fish
${lines.join('\n')}
`;
}
