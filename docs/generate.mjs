// Writes what is made of the program itself: npm run docs. A test fails if what is checked in is not what this makes.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toJsonSchema } from '@valibot/to-json-schema';
import { configSchema } from '../dist/cli/config-schema.js';
import { ERROR_SCHEMA, OUTPUT_SCHEMAS } from '../dist/cli/json/schemas.js';
import { describeProgram } from '../dist/cli/program.js';
import { describeApi } from '../dist/mount/api/api-document.js';
import { makePages } from './pages.mjs';

const root = fileURLToPath(new URL('../', import.meta.url));
const pages = makePages(await describeProgram(), {
  configSchema,
  errorSchema: ERROR_SCHEMA,
  outputSchemas: OUTPUT_SCHEMAS,
});
for (const folder of ['docs/commands', 'man']) rmSync(root + folder, { recursive: true, force: true });
for (const [path, text] of Object.entries(pages)) {
  mkdirSync(dirname(root + path), { recursive: true });
  writeFileSync(root + path, text);
}
writeFileSync(`${root}docs/api.json`, `${JSON.stringify(describeApi(toJsonSchema), null, 2)}\n`);
