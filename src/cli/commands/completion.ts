import { Argument, type Command } from 'commander';
import { completionScript, SHELL_NAMES } from '../completion.js';
import { stdout } from '../stdout.js';

/** `rafter completion SHELL` */
export function defineCompletion(program: Command): void {
  program
    .command('completion')
    .description('print what lets a shell complete commands and options')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELL_NAMES))
    .addHelpText(
      'after',
      `
Examples:
  source <(rafter completion bash)
  rafter completion bash > /etc/bash_completion.d/rafter
  rafter completion zsh > "\${fpath[1]}/_rafter"
  rafter completion fish > ~/.config/fish/completions/rafter.fish`,
    )
    .action(async (shell: (typeof SHELL_NAMES)[number]) => {
      const { describeProgram } = await import('../program.js');
      stdout().write(completionScript(shell, await describeProgram()));
    });
}
