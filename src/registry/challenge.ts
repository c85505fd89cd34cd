/** One way to authenticate that a server offers. */
export interface Challenge {
  /** Lower case, e.g. `bearer`. */
  scheme: string;
  /** Parameters by lower-case name; of a repeated one the first counts. */
  params: Map<string, string>;
}

/** Most characters of WWW-Authenticate headers that are looked at. */
const MAX_HEADER_LENGTH = 16384;

/** `token` of HTTP (RFC 9110), as a sticky pattern. */
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const SPACE = /[ \t]*/y;
const SEPARATORS = /[ \t,]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
/** Values without quotes, also with characters that would need them (zot writes its realm like that). */
const UNQUOTED = /[^\s,"]+/y;

/**
 * Reads WWW-Authenticate headers (RFC 9110, section 11.6.1): several headers, several challenges in one, quoted and unquoted
 * values. Reading stops at the first thing that fits no rule; what came before counts.
 */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  return [header ?? []].flat().flatMap((text) => parseHeader(text.slice(0, MAX_HEADER_LENGTH)));
}

function parseHeader(text: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(SEPARATORS);
    const word = take(TOKEN)?.[0].toLowerCase();
    if (word === undefined) return challenges;
    const afterWord = at;
    take(SPACE);
    // A word and "=" are a parameter, a word alone begins the next challenge.
    if (text[at] !== '=' || challenges.length === 0) {
      at = afterWord;
      challenges.push({ scheme: word, params: new Map() });
      continue;
    }
    at++;
    take(SPACE);
    const quoted = take(QUOTED)?.[1]?.replace(/\\(.)/gs, '$1');
    const value = quoted ?? take(UNQUOTED)?.[0] ?? '';
    const { params } = challenges.at(-1)!;
    if (!params.has(word)) params.set(word, value);
  }
}
