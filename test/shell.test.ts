import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

const source = resolve(import.meta.dirname, '../src');
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);

/** What of node:child_process takes a program and a list of arguments, which no shell looks at. */
const WITHOUT_SHELL = new Set(['spawn', 'execFile', 'type ChildProcess']);

it('no shell is started: programs get lists of arguments', () => {
  const users: string[] = [];
  for (const file of files) {
    const text = readFileSync(join(source, file), 'utf8');
    const imported = /import ([^;]*?) from 'node:child_process'/s.exec(text)?.[1];
    // All that is used of it is imported by name, at the top.
    expect(text.match(/child_process/g)?.length ?? 0, file).toBe(imported === undefined ? 0 : 1);
    if (imported === undefined) continue;
    users.push(file);
    expect(text, file).not.toMatch(/\bshell\s*:/);
    const names = imported.replace(/^\{|\}$/g, '').split(',');
    for (const name of names.map((one) => one.trim()).filter((one) => one !== ''))
      expect(WITHOUT_SHELL, file).toContain(name);
  }
  expect(users).toContain('registry/credential-helper.ts');
  expect(users).toContain('run/container.ts');
});

it('no program but this one is made of text: no eval, no Function', () => {
  for (const file of files) {
    const text = readFileSync(join(source, file), 'utf8');
    expect(text, file).not.toMatch(/\beval\(|new Function\(/);
    if (!text.includes("node:vm'")) continue;
    // V8 shows its collector only to contexts that are new.
    expect(file).toBe('os/collect-garbage.ts');
    expect(text.match(/\brun\w*\([^)]*\)|new Script/g)).toEqual(["runInNewContext('gc')"]);
  }
});
