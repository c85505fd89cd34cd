import { expect, it } from 'vitest';
import { parseNodeImports } from '../../../src/convert/startup/node-imports.js';
import { parsePythonImports } from '../../../src/convert/startup/python-imports.js';
import { parseExec, parseShebang, splitWords } from '../../../src/convert/startup/script.js';

it.each<[string, string[]]>([
  ['import a, b.c as d  # e\nimport f;', ['a', 'b.c', 'f']],
  ['from ..x import (\n  y,  # why\n  z as w,\n)\n', ['..x:y,z']],
  ['from x import *', ['x:']],
  ['from x import y, \\\n  z', ['x:y,z']],
  ['try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    import c\n', ['a', 'c']],
  ['def f():\n    import a\nclass C:\n\n  import b\nif x:\n  import c\n', []],
  ['def f():\n    try:\n        import a\n    finally: pass\n', []],
  ['important = 1\nx = "import y"\n>>> import z\n#import w\nimport a\nimport a\n', ['a']],
])('of Python: %j', (text, expected) => {
  expect(parsePythonImports(text)).toEqual(expected);
});

it.each<[string, string[]]>([
  [`const a = require("./a"), b = require('b');\n`, ['./a', 'b']],
  [`import a from "a";\nimport './b.js';\nexport { c } from 'c'\n`, ['a', './b.js', 'c']],
  [`function f() {\n  return require('later');\n}\n// require('no')\n`, []],
])('of JavaScript: %j', (text, expected) => {
  expect(parseNodeImports(text)).toEqual(expected);
});

it('reads first lines as Linux does', () => {
  expect(parseShebang(Buffer.from('#! /usr/bin/env -S python3 -u\nx'))).toEqual([
    ...['/usr/bin/env', '-S', 'python3', '-u'],
  ]);
  expect(parseShebang(Buffer.from('#!/bin/sh'))).toEqual(['/bin/sh']);
  expect(parseShebang(Buffer.from('#!sh\n'))).toBeUndefined();
  expect(parseShebang(Buffer.from('# !/bin/sh\n'))).toBeUndefined();
});

it('finds the last exec of a script', () => {
  expect(parseExec('exec a\nexec nginx -g "daemon off;" \'x y\' && z\necho\n')).toEqual([
    ...['nginx', '-g', 'daemon off;', 'x y'],
  ]);
  expect(parseExec('exec 3>&1\nexec >log\n')).toBeUndefined();
  expect(parseExec(`exec a${'\n:'.repeat(40)}`)).toBeUndefined();
  expect(splitWords('a; b')).toEqual(['a']);
});
