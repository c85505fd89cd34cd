// Pages of docs/ as Markdown.

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const rows = (head, all) => [`| ${head} | |`, '| --- | --- |', ...all].join('\n');

/** Name of a command's page, without its folder. */
export const pageName = (name) => `${name.replaceAll(' ', '-')}.md`;

/** The page of one command. */
export function commandPage({ name, description, usage, arguments: args, options, notes, examples }) {
  const parts = [
    `# rafter ${name}`,
    `${description[0].toUpperCase()}${description.slice(1)}.`,
    `\`\`\`sh\n${usage}\n\`\`\``,
    args.length > 0 &&
      rows(
        'argument',
        args.map((one) => `| \`${one.name}\` | ${cell(one.description)} |`),
      ),
    rows(
      'option',
      options.map((one) => `| \`${cell(one.flags)}\` | ${cell(one.description)} |`),
    ),
    notes,
    `## Examples\n\n\`\`\`sh\n${examples}\n\`\`\``,
    '[All commands](README.md) · [what `--json` prints](../json.md) · [configuration](../configuration.md)',
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

/** The list of commands. */
export function commandIndex(commands, globalOptions) {
  const lines = commands.map(
    ({ name, description }) => `| [\`rafter ${name}\`](${pageName(name)}) | ${cell(description)} |`,
  );
  const options = globalOptions.map((one) => `| \`${cell(one.flags)}\` | ${cell(one.description)} |`);
  return `# Commands

${rows('command', lines)}

Before the command:

${rows('option', options)}

## Exit codes

| code | |
| --- | --- |
| 0 | done |
| 1 | failed; \`diff\`: the images are different |
| 2 | used wrongly: an unknown option, a contradiction, a mistake in the configuration |
| 3 | not found: an image, a blob, a file, a daemon |
| 4 | denied: a log-in or rights are missing |
| 5 | damaged data: wrong digests, malformed or truncated images |
| 6 | not supported here: by this kernel, this machine, this version |
| 125, 126, 127 | \`run\`: rafter or runc failed, the command cannot be executed, it is not there; every other code is the container's |
| 130 | interrupted |
`;
}

/** What every command prints with --json, from JSON schemas by command. */
export function jsonPage(schemas, errorSchema) {
  const sections = Object.entries(schemas).map(
    ([name, schema]) =>
      `## rafter ${name}\n\n${(schema.anyOf ?? [schema]).map((one) => members(one)).join('\n\nor\n\n')}`,
  );
  return `# What \`--json\` prints

One object on one line on standard output; \`ls\` prints one line for each name. A member with \`?\` is not always there. Sizes are
bytes, times are ISO 8601 in UTC. Later versions may add members and take none away.

When a command fails, standard error has one line instead:

${members(errorSchema)}

${sections.join('\n\n')}
`;
}

function members(schema, depth = 0) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {})
    .map(([key, value]) => {
      const inner = value.type === 'array' ? value.items : value;
      const below = inner.properties ? `\n${members(inner, depth + 1)}` : '';
      return `${'  '.repeat(depth)}* \`${key}${required.includes(key) ? '' : '?'}\`: ${typeName(value)}${below}`;
    })
    .join('\n');
}

function typeName(schema) {
  if (schema.enum) return schema.enum.map((one) => `"${one}"`).join(', ');
  if (schema.const !== undefined) return `"${schema.const}"`;
  if (schema.anyOf) return schema.anyOf.map(typeName).join(' or ');
  if (schema.type === 'array')
    return schema.items && !Array.isArray(schema.items) ? `list of ${typeName(schema.items)}` : 'list';
  if (schema.type === 'object' && schema.additionalProperties)
    return `object with ${typeName(schema.additionalProperties)} members`;
  if (schema.pattern?.startsWith('^sha')) return 'digest';
  return schema.type ?? 'anything';
}
