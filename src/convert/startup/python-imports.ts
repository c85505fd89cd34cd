/** Most imports of one module that are looked at. */
const MAX_IMPORTS = 256;
/** Longest statement, in characters, and how far back the block is looked for that a line stands in. */
const MAX_STATEMENT = 8192;
const MAX_BLOCK = 16384;

/**
 * What a Python module imports when it is loaded: at its top level, and there in `try`, `else` and `with`, but not in functions, nor in
 * `if` and `except`, which are for other versions and systems. Each is `a.b` or, with dots in front as in the language, `..a:x,y` for
 * `from ..a import x, y`. In the order of the text, each once.
 */
export function parsePythonImports(text: string): string[] {
  const found = new Set<string>();
  for (
    let at = text.indexOf('import');
    at >= 0 && found.size < MAX_IMPORTS;
    at = text.indexOf('import', at + 6)
  ) {
    const start = text.lastIndexOf('\n', at) + 1;
    const head = /^([ \t]*)(?:from[ \t]+([.\w]+)[ \t]+)?$/.exec(text.slice(start, Math.min(at, start + 512)));
    if (!head || !/[\s(]/.test(text[at + 6] ?? '')) continue;
    if (head[1] !== '' && !isLoaded(text, start, head[1]!.length)) continue;
    const names = importedNames(text.slice(at + 6, at + 6 + MAX_STATEMENT));
    if (head[2] !== undefined) found.add(`${head[2]}:${names.join(',')}`);
    else for (const name of names) found.add(name);
  }
  return [...found];
}

/** The names between `import` and the end of the statement, without what they are called. */
function importedNames(rest: string): string[] {
  const list = /^\s*\(([^)]*)\)/.exec(rest)?.[1] ?? rest.split(/(?<!\\)\n|;/, 1)[0]!;
  return list
    .replaceAll(/#[^\n]*|\\\r?\n/g, ' ')
    .split(',')
    .map((name) => name.trim().split(/\s/, 1)[0]!)
    .filter((name) => /^[\w.]+$/.test(name));
}

/** True if the line at `start` is in blocks that run when the module is loaded. */
function isLoaded(text: string, start: number, indent: number): boolean {
  let inner = indent;
  for (let end = start - 1; end > 0 && start - end < MAX_BLOCK; ) {
    const begin = text.lastIndexOf('\n', end - 1) + 1;
    const line = text.slice(begin, end);
    end = begin - 1;
    const depth = line.search(/[^ \t\r]/);
    if (depth < 0 || depth >= inner || line[depth] === '#') continue;
    if (!/^[ \t]*(try|else|finally|with)\b/.test(line)) return false;
    if (depth === 0) return true;
    inner = depth;
  }
  return false;
}
