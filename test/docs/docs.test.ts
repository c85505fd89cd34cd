import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
// @ts-expect-error: a script without types
import { makePages } from '../../docs/pages.mjs';
import { parseConfig } from '../../src/cli/config-file.js';
import { configSchema, SETTINGS } from '../../src/cli/config-schema.js';
import { ERROR_SCHEMA, OUTPUT_SCHEMAS } from '../../src/cli/json/schemas.js';
import { describeProgram } from '../../src/cli/program.js';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const schemas = { configSchema, errorSchema: ERROR_SCHEMA, outputSchemas: OUTPUT_SCHEMAS };
const generated = (makePages as (...args: unknown[]) => Record<string, string>)(
  await describeProgram(),
  schemas,
);
const pages = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);

describe('generated pages', () => {
  const checkedIn = Object.entries(generated).filter(([path]) => path.startsWith('docs/'));
  it.each(checkedIn)('%s is what npm run docs makes', (path, text) => {
    expect(existsSync(join(root, path)) ? read(path) : 'missing: npm run docs').toBe(text);
  });

  it('are those of commands that there are', () => {
    const found = pages.filter((path) => path.startsWith('docs/commands/'));
    expect(found.filter((path) => !(path in generated))).toEqual([]);
  });

  it('include a manual page for every command, without a line that roff would take for a request', () => {
    const manuals = Object.entries(generated).filter(([path]) => path.startsWith('man/'));
    expect(manuals.length).toBe(
      Object.keys(generated).filter((path) => path.startsWith('docs/commands/')).length,
    );
    for (const [path, text] of manuals) {
      const requests = text.split('\n').filter((line) => /^[.']/.test(line));
      expect(
        requests.filter((line) => !/^\.(TH|SH|PP|TP|B|BR|nf|fi)\b/.test(line)),
        path,
      ).toEqual([]);
    }
  });
});

/** Anchor of a heading, as code hosts make them. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

it.each(['README.md', ...pages])('links of %s lead somewhere', (page) => {
  const broken: string[] = [];
  for (const [, target = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [file = '', anchor] = target.split('#');
    const path = file === '' ? join(root, page) : resolve(root, dirname(page), file);
    if (!existsSync(path)) broken.push(target);
    else if (anchor !== undefined && statSync(path).isFile()) {
      const headings = [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)].map((match) =>
        anchorOf(match[1]!),
      );
      if (!headings.includes(anchor)) broken.push(target);
    }
  }
  expect(broken).toEqual([]);
});

it('README and the list of pages name every page', () => {
  const named = [...read('docs/README.md').matchAll(/\]\(([^)#\s]+)/g)].map((match) => match[1]!);
  const top = pages
    .map((page) => relative('docs', page))
    .filter((page) => !page.includes('/') && page !== 'README.md');
  expect(top.filter((page) => !named.includes(page))).toEqual([]);
  expect(read('README.md')).toContain('(docs/README.md)');
});

it("README's table has a row with every command", async () => {
  const table = /## Commands\n([\s\S]*?)\n\n[^|\n]/.exec(read('README.md'))![1]!;
  const rows = table.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.map((row) => row.split(' | ')[0]!).join('\n');
  const missing = (await describeProgram()).commands.flatMap((command) => {
    const inner = command.commands.map((one) => one.name()).filter((name) => name !== 'help');
    return [`rafter ${command.name()}`, ...inner].filter((name) => !named.includes(name));
  });
  expect(missing).toEqual([]);
});

it('the picture of the house has the floors that are tested, in their order', () => {
  const picture = /## The house[\s\S]*?```\n([\s\S]*?)```/.exec(read('docs/development.md'))![1]!;
  const floors = /const floors = \[([^\]]*)\]/.exec(read('test/layering.test.ts'))![1]!;
  const drawn = picture
    .trim()
    .split('\n')
    .map((line) => line.split(/\s/)[0]);
  expect(drawn).toEqual([...floors.matchAll(/'([^']+)'/g)].map((match) => match[1]));
});

it('every line about compatibility is the name of a test', () => {
  const lines = [...read('docs/compatibility.md').matchAll(/^\|.*\| `(test\/[^`]+)`: (.*) \|$/gm)];
  expect(lines.length).toBeGreaterThan(5);
  for (const [, file, name] of lines) expect(read(file!), name).toContain(name);
});

it('the configuration that is shown is one, and the table has every key', async () => {
  const page = read('docs/configuration.md');
  const values = await parseConfig(/```yaml\n([\s\S]*?)```/.exec(page)![1]!, 'docs/configuration.md');
  expect(Object.keys(values).length).toBeGreaterThan(5);
  for (const { path, env, option } of SETTINGS)
    expect(page).toContain(
      `| \`${path.join('.')}\` | ${env === undefined ? '' : `\`${env}\` `}| \`--${option}\` |`,
    );
});

it('commands in the pages have options that there are', async () => {
  const program = await describeProgram();
  const options = new Map<string, (string | undefined)[]>();
  for (const one of program.commands)
    for (const each of [one, ...one.commands])
      options.set(
        each === one ? one.name() : `${one.name()} ${each.name()}`,
        each.options.map(({ long }) => long),
      );
  const code = pages.flatMap((page) =>
    [...read(page).matchAll(/```sh\n([\s\S]*?)```/g)].flatMap((match) => match[1]!.split('\n')),
  );
  const commands = code.filter((line) => /^(sudo )?rafter [a-z]/.test(line));
  expect(commands.length).toBeGreaterThan(50);
  const wrong = commands.filter((line) => {
    const [own = ''] = line.replace(/^sudo /, '').split(/ -- |[|<#]/);
    const [, name = '', second = ''] = own.split(' ');
    const known = options.get(`${name} ${second}`) ?? options.get(name);
    return (
      known === undefined || [...own.matchAll(/ (--[a-z0-9-]+)/g)].some((flag) => !known.includes(flag[1]))
    );
  });
  expect(wrong).toEqual([]);
});
