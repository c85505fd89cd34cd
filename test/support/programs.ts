import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The reason to skip a test that needs `programs`, or undefined if all of them are installed. */
export function missingPrograms(...programs: string[]): string | undefined {
  const missing = programs.filter((program) => !isInstalled(program));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
