import { expect, it } from 'vitest';
import { otherOptions, sideOptions } from '../../src/cli/side-options.js';
import { parseReference } from '../../src/image/reference.js';

const sides = {
  source: parseReference('source.example/app:1'),
  target: parseReference('target.example/app:1'),
};
const passwordFor = (options: object, text: string) =>
  otherOptions(options, parseReference(text), sides).credentials?.password;

it('gives each side its own credentials, or those for both', () => {
  const options = { creds: 'u:both', destCreds: 'u:target' };
  expect(sideOptions(options).source.credentials?.password).toBe('both');
  expect(sideOptions(options).target.credentials?.password).toBe('target');
});

it('gives a third image the credentials of the side in the same registry', () => {
  const options = { srcCreds: 'u:source', destCreds: 'u:target' };
  expect(passwordFor(options, 'source.example/other:2')).toBe('source');
  expect(passwordFor(options, 'target.example/other:2')).toBe('target');
  expect(passwordFor({ creds: 'u:both' }, 'target.example/other:2')).toBe('both');
  const same = { source: sides.target, target: sides.target };
  expect(otherOptions(options, sides.target, same).credentials?.password).toBe('target');
});

it('gives no other registry, and no directory, credentials that are not meant for it', () => {
  for (const options of [{ creds: 'u:both' }, { srcCreds: 'u:source', destCreds: 'u:target' }]) {
    for (const text of ['elsewhere.example/app:1', 'source.example:444/app:1', 'oci:/source.example:app'])
      expect(passwordFor({ ...options, plainHttp: true }, text)).toBeUndefined();
  }
  const { plainHttp } = otherOptions({ plainHttp: true }, parseReference('elsewhere.example/app'), sides);
  expect(plainHttp).toBe(true);
});
