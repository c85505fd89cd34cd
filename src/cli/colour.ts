const CODES = { red: 31, green: 32, yellow: 33, cyan: 36 };

/** `text` in a colour, where `stream` shows colours. */
export function paint(
  stream: { isTTY?: boolean },
  colour: keyof typeof CODES,
  text: string,
  env: NodeJS.ProcessEnv = process.env,
): string {
  return showsColours(stream, env) ? `\x1b[${CODES[colour]}m${text}\x1b[39m` : text;
}

/** Colours are for terminals; NO_COLOR takes them away there, FORCE_COLOR brings them everywhere (0: nowhere). */
function showsColours({ isTTY }: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: terminal } = env;
  if (force !== undefined) return force !== '0' && force !== 'false';
  if (no !== undefined && no !== '') return false;
  return isTTY === true && terminal !== 'dumb';
}
