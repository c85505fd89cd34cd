/** Bytes of a script's first line that Linux looks at (BINPRM_BUF_SIZE). */
const MAX_SHEBANG_SIZE = 256;
/** Lines at the end of a shell script among which `exec` is looked for. */
const LAST_LINES = 40;
const MAX_WORDS = 64;

/** Program and arguments of the first line `#!`, as Linux and `env -S` take it apart; undefined if there is none. */
export function parseShebang(content: Buffer): string[] | undefined {
  if (content[0] !== 0x23 || content[1] !== 0x21) return undefined;
  const line = content.toString('latin1', 2, MAX_SHEBANG_SIZE).split('\n', 1)[0]!;
  const words = line.trim().split(/[ \t\r]+/);
  return words[0]?.startsWith('/') ? words : undefined;
}

/** The words of the last `exec` that stands alone in its line, at the end of a shell script. */
export function parseExec(script: string): string[] | undefined {
  const lines = script.trimEnd().split('\n').slice(-LAST_LINES);
  for (const line of lines.reverse()) {
    const match = /^\s*exec\s+(?!-|[<>]|\d+[<>])(.+)$/.exec(line);
    if (match) return splitWords(match[1]!);
  }
  return undefined;
}

/** A command line's words, quotes taken off, up to what would end the command. Nothing is expanded. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  for (const [, double, single, plain] of text.matchAll(/"([^"]*)"|'([^']*)'|([^\s"']+)/g)) {
    if (words.length >= MAX_WORDS || /^([;&|]|\d*[<>])/.test(plain ?? '')) break;
    words.push(double ?? single ?? plain!.replace(/;$/, ''));
    if (plain?.endsWith(';')) break;
  }
  return words;
}
