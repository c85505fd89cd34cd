import { afterAll } from 'vitest';
import { removeScratch } from './scratch.js';

// Vitest reads this for every test file, while a module that tests import is read once for all the files that share a process.
afterAll(removeScratch);
