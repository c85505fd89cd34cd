import { expect } from 'vitest';
import { formatReference, parseReference } from '../../src/image/reference.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, pick } from '../support/mutate.js';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
const references = [
  'python',
  'docker.io/library/python:3.12',
  `registry.example:5000/a/b_c/d--e:tag@${digest}`,
  `[::1]:5000/x@${digest}`,
  'docker://localhost/x:latest',
  `oci:some/dir:tag@${digest}`,
  'oci:dir:registry.example/x:1',
  'oci-archive:file.tar:tag',
  'docker-archive:file.tar:registry.example/x:1',
].map((text) => Buffer.from(text));

fuzz('damaged image references', {
  name: /^".*"|^an image reference is empty/,
  run: (next) => {
    let bytes = mutate(pick(references, next), next);
    if (next(50) === 0) bytes = Buffer.concat(Array.from({ length: 300 }, () => bytes));
    const reference = parseReference(bytes.toString(pick(['latin1', 'utf8'], next)));
    // What is read is read the same way from what it is written as.
    expect(parseReference(formatReference(reference))).toEqual(reference);
  },
});
