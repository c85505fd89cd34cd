import { expect, it } from 'vitest';
import { mergeScopes } from '../../src/registry/scopes.js';

it.each([
  [[], []],
  [['repository:a:pull'], ['repository:a:pull']],
  [
    ['repository:a:pull,push', 'repository:b:pull', 'repository:a:pull', 'repository:b:pull,delete'],
    ['repository:a:pull,push', 'repository:b:pull,delete'],
  ],
  [['repository:host:5000/a:pull', 'repository:host:5000/a:push'], ['repository:host:5000/a:pull,push']],
  [['registry:catalog:*', '', 'nonsense', 'repository:a:'], ['registry:catalog:*']],
])('%j is %j', (scopes, merged) => {
  expect(mergeScopes(scopes)).toEqual(merged);
});
