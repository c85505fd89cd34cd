// Manual pages in man(7)'s macros.

const escapeText = (text) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');
const bold = (text) => `.B ${quoted(text)}`;
const quoted = (text) => `"${escapeText(text).replaceAll('"', '\\(dq')}"`;
const pageOf = (name) => `rafter-${name.replaceAll(' ', '-')}`;

const head = (name, version) =>
  `.TH ${quoted(name.toUpperCase())} 1 "" ${quoted(`rafter ${version}`)} "rafter"`;
const list = (entries) =>
  entries.map(({ title, description }) => `.TP\n${bold(title)}\n${escapeText(description)}`).join('\n');
const verbatim = (text) => `.nf\n${escapeText(text)}\n.fi`;

/** File name and text of the page of one command. */
export function commandManual(command, version) {
  const { name, description, usage, arguments: args, options, notes, examples } = command;
  const sections = [
    head(pageOf(name), version),
    `.SH NAME\n${escapeText(pageOf(name))} \\- ${escapeText(description)}`,
    `.SH SYNOPSIS\n${bold(usage)}`,
    `.SH DESCRIPTION\n${escapeText(`${description[0].toUpperCase()}${description.slice(1)}.`)}`,
    notes && `.PP\n${verbatim(notes)}`,
    args.length > 0 &&
      `.SH ARGUMENTS\n${list(args.map((one) => ({ title: one.name, description: one.description })))}`,
    `.SH OPTIONS\n${list(options.map((one) => ({ title: one.flags, description: one.description })))}`,
    `.SH EXAMPLES\n${verbatim(examples)}`,
    '.SH SEE ALSO\n.BR rafter (1)',
  ];
  return { file: `${pageOf(name)}.1`, text: `${sections.filter(Boolean).join('\n')}\n` };
}

/** File name and text of the page of the program. */
export function programManual(program, commands, globalOptions) {
  const { description, version } = program;
  const text = [
    head('rafter', version),
    `.SH NAME\nrafter \\- ${escapeText(description)}`,
    '.SH SYNOPSIS\n.B rafter\n[options] command [arguments]',
    `.SH OPTIONS\n${list(globalOptions.map((one) => ({ title: one.flags, description: one.description })))}`,
    `.SH COMMANDS\n${list(commands.map((one) => ({ title: `${pageOf(one.name)}(1)`, description: one.description })))}`,
    '.SH FILES\n.TP\n.B /etc/rafter/config.yaml\nconfiguration of the system\n.TP\n.B ~/.config/rafter/config.yaml\nconfiguration of the user',
  ].join('\n');
  return { file: 'rafter.1', text: `${text}\n` };
}
