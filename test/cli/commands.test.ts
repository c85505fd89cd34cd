import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { paint } from '../../src/cli/colour.js';
import { OUTPUT_SCHEMAS } from '../../src/cli/json/schemas.js';
import { describeProgram, runCommandLine } from '../../src/cli/program.js';

/** These print bytes of an image, of a program, or a file that is made for another one. */
const WITHOUT_JSON = ['cat', 'completion', 'config schema', 'daemon run', 'run'];

const program = await describeProgram();
const leaves = (command: Command, words: string[] = []): [string, Command][] =>
  command.commands.flatMap((one) => {
    const all = [...words, one.name()];
    return one.commands.length === 0 ? [[all.join(' '), one] as [string, Command]] : leaves(one, all);
  });
const commands = leaves(program).filter(([name]) => name !== 'help');

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return text;
}

it.each(commands)(
  'rafter %s has a description, described options and arguments, and an example',
  (name, command) => {
    expect(command.description().length, 'description').toBeGreaterThan(10);
    for (const option of command.options) expect(option.description.length, option.flags).toBeGreaterThan(3);
    for (const argument of command.registeredArguments)
      expect(argument.description.length, argument.name()).toBeGreaterThan(3);
    const help = helpOf(command);
    const examples = help.slice(help.search(/^Examples?:$/m));
    expect(help).toMatch(/^Examples?:$/m);
    expect(examples).toMatch(new RegExp(`^  rafter (--config \\S+ )?${name}\\b`, 'm'));
  },
);

it.each(commands)('the examples of rafter %s are command lines that it takes', (_, command) => {
  const known = command.options.flatMap(({ long, short }) => [long, short]);
  const help = helpOf(command);
  const lines = help
    .slice(help.search(/^Examples?:$/m))
    .replaceAll('\\\n', ' ')
    .split('\n');
  for (const line of lines.filter((one) => one.startsWith(`  rafter ${command.name()} `))) {
    const own = line.split(/ -- |[|<]/)[0]!;
    const given = own.match(/(?<=\s)(--[a-z0-9-]+|-[a-zA-Z])(?=[\s=])/g) ?? [];
    expect(given.filter((one) => !known.includes(one))).toEqual([]);
  }
});

it('every command has a schema of what it prints with --json', () => {
  const expected = commands.map(([name]) => name).filter((name) => !WITHOUT_JSON.includes(name));
  expect(Object.keys(OUTPUT_SCHEMAS).sort()).toEqual(expected.sort());
});

it.each([
  [['conver'], /^hint: did you mean convert\?$/m],
  [['convert', '--comprssor', 'lz4', 'a', 'b'], /^hint: did you mean --compressor\?$/m],
  [
    ['--data-root', '/x', 'convert', 'a', 'b'],
    /^hint: options stand behind the command: rafter convert --data-root$/m,
  ],
  [['daemon', 'upgrade', '--log-level', 'all'], /^hint: rafter daemon upgrade --help says what there is$/m],
  [['--config', 'x.yaml', 'mounts', '--all'], /^hint: rafter mounts --help says what there is$/m],
  [['frobnicate'], /^hint: rafter --help says what there is$/m],
  [['run', '--rm', 'x'], /^hint: every container is removed when it ends: leave it out$/m],
  [['run', '--network=host', 'x'], /^hint: write --net host/m],
  [['convert', 'oci:x:1', 'oci:x:1'], /^hint: give the target a tag of its own/m],
  [['cache', 'prun'], /^hint: did you mean prune\?$/m],
  [['umount', '--lzy', 'x'], /^hint: did you mean --lazy\?$/m],
])('suggests what was meant by %j, with exit code 2', async (argv, suggestion) => {
  const written: string[] = [];
  const { write } = process.stderr;
  process.stderr.write = ((text: string) => written.push(text) > 0) as typeof write;
  try {
    expect(await runCommandLine(argv)).toBe(2);
  } finally {
    process.stderr.write = write;
  }
  expect(written.join('')).toMatch(suggestion);
});

it.each([
  [true, {}, true],
  [false, {}, false],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [true, { TERM: 'dumb' }, false],
  [false, { FORCE_COLOR: '1' }, true],
  [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
  [true, { FORCE_COLOR: '0' }, false],
])('colours on a terminal (%j) with %j: %j', (isTTY, env, coloured) => {
  expect(paint({ isTTY }, 'red', 'x', env)).toBe(coloured ? '\x1b[31mx\x1b[39m' : 'x');
});
