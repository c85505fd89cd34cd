import { RafterError } from '../errors.js';

/** Most characters of an answer. */
const MAX_ANSWER = 4096;
/** Most bytes of a password on standard input. */
const MAX_STDIN = 64 << 10;

/** What the user types after `question` on the terminal; with `isSecret` it is not shown. INTERRUPTED by Ctrl-C and Ctrl-D. */
export async function askOnTerminal(
  question: string,
  { isSecret = false }: { isSecret?: boolean } = {},
): Promise<string> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) throw new Error('asked without a terminal');
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.setEncoding('utf8');
  let answer = '';
  try {
    for await (const piece of stdin.iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
      for (const character of piece) {
        if (character === '\r' || character === '\n') return answer;
        if (character === '\u0003' || character === '\u0004') {
          throw new RafterError('INTERRUPTED', 'interrupted by the user');
        }
        const isErase = character === '\u007f' || character === '\b';
        if (isErase && answer !== '' && !isSecret) stderr.write('\b \b');
        if (isErase) answer = [...answer].slice(0, -1).join('');
        else if (character >= ' ' && answer.length < MAX_ANSWER) {
          answer += character;
          if (!isSecret) stderr.write(character);
        }
      }
    }
    throw new RafterError('INTERRUPTED', 'the terminal was closed');
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** All of standard input without the line end at its end. USAGE if it is empty, has several lines or is too long. */
export async function readPasswordFromStdin(): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MAX_STDIN) throw new RafterError('USAGE', `more than ${MAX_STDIN} bytes on standard input`);
    pieces.push(piece);
  }
  const password = Buffer.concat(pieces)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  if (password === '')
    throw new RafterError('USAGE', 'standard input holds no password', {
      hint: 'let a program or a file give it: rafter login --username NAME --password-stdin REGISTRY <FILE',
    });
  return password;
}
