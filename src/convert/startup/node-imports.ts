import { parseJsonObject } from '../../image/json.js';

const MAX_IMPORTS = 256;
const MAX_LINE = 1024;
/** Most bytes of a package.json. */
const MAX_PACKAGE_SIZE = 1 << 20;

/** What a JavaScript module requires or imports in lines that are not indented, in the order of the text, each once. */
export function parseNodeImports(text: string): string[] {
  const found = new Set<string>();
  const statement = /\b(?:require\(\s*|from\s*|^import\s*)(["'])([^"'\n]{1,256})\1/gm;
  for (const match of text.matchAll(statement)) {
    if (found.size >= MAX_IMPORTS) break;
    const start = text.lastIndexOf('\n', match.index) + 1;
    const isTop = start === match.index || /[^\s/*]/.test(text[start]!);
    if (isTop && match.index - start < MAX_LINE) found.add(match[2]!);
  }
  return [...found];
}

/** The module that a package.json names for programs that require or import the package. */
export function parsePackageMain(bytes: Buffer): string | undefined {
  try {
    const { exports, main } = parseJsonObject(bytes, MAX_PACKAGE_SIZE, 'package.json');
    return chooseExport(exports) ?? (typeof main === 'string' ? main : undefined);
  } catch {
    return undefined;
  }
}

/** The file of the package's own name (`.`) for `require`. */
function chooseExport(value: unknown, depth = 0): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null || depth > 4) return undefined;
  const object = value as Record<string, unknown>;
  for (const key of ['.', 'node', 'require', 'default', 'import']) {
    const chosen = chooseExport(object[key], depth + 1);
    if (chosen !== undefined) return chosen;
  }
  return undefined;
}
