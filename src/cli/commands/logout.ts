import type { Command } from 'commander';
import { accessOptions, addCommonOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';

/** `rafter logout [REGISTRY]` */
export function defineLogout(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('logout')
    .description('forget the log-in to a registry')
    .argument('[registry]', 'HOST[:PORT]', 'docker.io')
    .addHelpText(
      'after',
      `
Example:
  rafter logout registry.example.com`,
    );
  addCommonOptions(command).action(async (registryText: string) =>
    setExitCode(
      await withContext(command, async ({ output }) => {
        const [{ parseRegistry }, { eraseLogin }] = await Promise.all([
          import('../../image/reference.js'),
          import('../../registry/login-store.js'),
        ]);
        const { registry, name } = parseRegistry(registryText);
        const wasLoggedIn = await eraseLogin(accessOptions({}).dockerConfig, registry);
        output.result(
          { registry: name, wasLoggedIn },
          wasLoggedIn ? `logged out of ${name}` : `there was no log-in to ${name}`,
        );
        return EXIT.ok;
      }),
    ),
  );
}
