/** Options of `docker run` that `rafter run` has not, and what to do instead. */
const INSTEAD: Record<string, string> = {
  '--rm': 'every container is removed when it ends: leave it out',
  '-d': 'a container runs in the foreground: put & behind the command, or make it a systemd service',
  '--detach': 'a container runs in the foreground: put & behind the command, or make it a systemd service',
  '-p': 'a container has the network of this machine, so its ports are there already: leave it out',
  '--publish': 'a container has the network of this machine, so its ports are there already: leave it out',
  '--network': 'write --net host (the default) or --net none',
  '--name': 'containers have no names here: they end with the command that runs them',
  '--env-file': 'give each variable with -e',
  '--mount': 'write -v HOST:CONTAINER[:ro]',
};

/** What to do instead of an option of `docker run`, from what is said of it: `unknown option '--rm'`. */
export function insteadOfDockerOption(message: string): string | undefined {
  const option = /^unknown option '([^'=]+)/.exec(message)?.[1] ?? '';
  return Object.hasOwn(INSTEAD, option) ? INSTEAD[option] : undefined;
}
