// Writes what is made of the program itself: npm run docs. Tests fail if what is checked in is not what this writes.
import { writeFileSync } from 'node:fs';
import { toJsonSchema } from '@valibot/to-json-schema';
import { configSchema } from '../dist/cli/config-schema.js';
import { describeApi } from '../dist/mount/api-document.js';

const docs = new URL('./', import.meta.url);
const write = (name, text) => writeFileSync(new URL(name, docs), text);

const schema = { title: 'Configuration of rafter', ...toJsonSchema(configSchema) };
write('config.schema.json', `${JSON.stringify(schema, null, 2)}\n`);

write('api.json', `${JSON.stringify(describeApi(toJsonSchema), null, 2)}\n`);
