import type { Command } from 'commander';
import { hideSecret, RafterError } from '../../errors.js';
import {
  accessOptions,
  addCommonOptions,
  addTlsOptions,
  type CommandContext,
  type RegistryCliOptions,
  withContext,
} from '../context.js';
import { EXIT } from '../exit-codes.js';

interface LoginOptions extends Omit<RegistryCliOptions, 'creds'> {
  username?: string;
  password?: string;
  passwordStdin: boolean;
}

/** `rafter login [REGISTRY]` */
export function defineLogin(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('login')
    .description('log in to a registry; other tools that read Docker’s configuration are logged in, too')
    .argument('[registry]', 'HOST[:PORT]', 'docker.io')
    .option('-u, --username <name>', 'user name')
    .option('--password-stdin', 'read the password from standard input', false)
    .option('-p, --password <password>', 'unsafe: other users see it in the list of processes')
    .addHelpText(
      'after',
      `
Examples:
  rafter login registry.example.com                                     (asks)
  rafter login -u robot --password-stdin registry.example.com < secret`,
    );
  addTlsOptions(addCommonOptions(command)).action(async (registry: string, options: LoginOptions) =>
    setExitCode(await withContext(command, (context) => login(context, registry, options))),
  );
}

async function login(
  { output, signal }: CommandContext,
  registryText: string,
  options: LoginOptions,
): Promise<number> {
  const [{ parseRegistry }, { checkLogin }, { storeLogin }] = await Promise.all([
    import('../../image/reference.js'),
    import('../../registry/check-login.js'),
    import('../../registry/login-store.js'),
  ]);
  const { registry, name } = parseRegistry(registryText);
  if (options.password !== undefined) {
    output.warn('a password on the command line is seen by every user of this machine: use --password-stdin');
  }
  const { username, password } = await askFor(name, options);
  hideSecret(password);
  const access = accessOptions(options);
  const checked = await checkLogin(registry, { username, password }, { ...access, signal });
  if (checked.isOpen) output.warn(`${name} answers everybody: the password was not checked`);
  const { identityToken } = checked;
  const helper = await storeLogin(access.dockerConfig, registry, { username, password, identityToken });
  if (helper === undefined) {
    output.warn(
      `the ${identityToken === undefined ? 'password' : 'token'} is kept unencrypted in ${access.dockerConfig}; ` +
        'a credential helper, named there as credsStore, would keep it safe',
    );
  }
  const stored = helper === undefined ? access.dockerConfig : `docker-credential-${helper}`;
  output.result({ registry: name, username, stored }, `logged in to ${name} as ${username}`);
  return EXIT.ok;
}

async function askFor(
  name: string,
  { username, password, passwordStdin }: LoginOptions,
): Promise<{ username: string; password: string }> {
  const { askOnTerminal, readPasswordFromStdin } = await import('../prompt.js');
  if (passwordStdin && password !== undefined) {
    throw new RafterError('USAGE', 'the password was given twice: with --password and --password-stdin');
  }
  if (passwordStdin) {
    if (username === undefined) throw new RafterError('USAGE', '--password-stdin needs --username');
    return { username: checkName(username), password: await readPasswordFromStdin() };
  }
  const isComplete = username !== undefined && password !== undefined;
  if (!isComplete && !process.stdin.isTTY) {
    throw new RafterError('USAGE', 'there is no terminal to ask for user name and password', {
      hint: 'give --username and --password-stdin',
    });
  }
  const user = checkName(username ?? (await askOnTerminal(`user name for ${name}: `)));
  const secret = password ?? (await askOnTerminal('password: ', { isSecret: true }));
  if (secret === '') throw new RafterError('USAGE', 'the password is empty');
  return { username: user, password: secret };
}

/** In Basic authentication and in Docker's configuration, a colon ends the user name. */
function checkName(name: string): string {
  if (name !== '' && !name.includes(':')) return name;
  throw new RafterError('USAGE', 'a user name must not be empty and must not have a colon in it');
}
