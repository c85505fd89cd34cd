import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import { expect, it } from 'vitest';
import { describeApi } from '../../../src/mount/api/api-document.js';

it('is in docs/api.json, made of the schemas that the daemon uses (npm run docs)', () => {
  const text = readFileSync(resolve(import.meta.dirname, '../../../docs/api.json'), 'utf8');
  expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(describeApi(toJsonSchema))));
});
