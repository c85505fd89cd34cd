import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { completionScript, SHELL_NAMES } from '../../src/cli/completion.js';
import { describeProgram } from '../../src/cli/program.js';
import { missingPrograms } from '../support/programs.js';

const program = await describeProgram();
const dir = mkdtempSync(join(tmpdir(), 'rafter-completion-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** What bash offers for the last of `words`. */
function completeInBash(...words: string[]): string[] {
  const script = join(dir, 'rafter.bash');
  writeFileSync(script, completionScript('bash', program));
  const code = `source "$1"; shift; COMP_WORDS=(rafter "$@"); COMP_CWORD=$#; _rafter; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['-c', code, 'bash', script, ...words], { cwd: dir, encoding: 'utf8' });
  return output.split('\n').filter((line) => line !== '' && line !== 'rafter.bash');
}

it.each([
  [['con'], ['convert', 'config']],
  [
    ['cache', 'p'],
    ['prune', 'pin'],
  ],
  [['--config', 'x.yaml', 'unm'], []],
  [['umo'], ['umount']],
  [
    ['mount', '--driver', ''],
    ['auto', 'erofs', 'fuse'],
  ],
  [['mount', '--driver', 'e'], ['erofs']],
  [['convert', '--compr'], ['--compressor']],
  [['daemon', 'run', '--id'], ['--idle']],
  [['convert', '--level', ''], []],
])('completes %j in bash', (words, offered) => {
  expect(completeInBash(...words)).toEqual(offered);
});

it.each(SHELL_NAMES)('names every command and option in %s', (shell) => {
  const script = completionScript(shell, program);
  for (const command of program.commands) {
    expect(script).toContain(command.name());
    for (const { long } of command.options)
      if (long) expect(script).toContain(shell === 'fish' ? `-l ${long.slice(2)}` : long);
  }
});

for (const [shell, option] of [
  ['bash', '-n'],
  ['zsh', '-n'],
  ['fish', '--no-execute'],
] as const) {
  it(`is a script that ${shell} understands`, (ctx) => {
    const missing = missingPrograms(shell);
    if (missing !== undefined) ctx.skip(missing);
    const file = join(dir, `script.${shell}`);
    writeFileSync(file, completionScript(shell, program));
    execFileSync(shell, [option, file]);
  });
}
