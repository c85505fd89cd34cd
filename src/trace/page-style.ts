/** The style of the page that `tracePage` draws: light and dark as the reader's system is. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --back: #fbfaf8; --card: #ffffff; --text: #1f2328; --dim: #6a717b; --line: #e4e1dc;
  --local: #6fa58f; --startup: #3f7fdb; --fetch: #e08a2e; --unread: #b9b4ab; --hover: #f3f0ea; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15181c; --card: #1c2025; --text: #e4e7eb; --dim: #949ca6; --line: #2e343b;
    --local: #5f9c85; --startup: #5c97f0; --fetch: #eb9a45; --unread: #5b626b; --hover: #252b32; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 12px; font-weight: 650; }
p { margin: 0 0 12px; } .dim { color: var(--dim); } code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 24px 0; }
section, .figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin: 0 0 16px; } .figure { padding: 14px 16px; }
.figure b { display: block; font-size: 22px; font-weight: 650; letter-spacing: -0.01em; }
.figure span { color: var(--dim); font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
.grid, .base { stroke: var(--line); stroke-width: 1; } .base { stroke: var(--dim); }
.axis { fill: var(--dim); font: 11px system-ui, sans-serif; } .name { fill: var(--text); font: 11px ui-monospace, monospace; }
.row { fill: transparent; } g:hover .row { fill: var(--hover); }
svg .local { fill: var(--local); } svg .startup { fill: var(--startup); } svg .fetch { fill: var(--fetch); }
.keys { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0 0 14px; padding: 0; list-style: none; font-size: 13px; color: var(--dim); }
.keys li::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 7px; background: var(--key); }
.k-local { --key: var(--local); } .k-startup { --key: var(--startup); } .k-fetch { --key: var(--fetch); } .k-unread { --key: var(--unread); }
.k-packUnread { --key: color-mix(in srgb, var(--unread), var(--startup) 35%); }
.bar { display: flex; height: 22px; border-radius: 6px; overflow: hidden; margin: 0 0 14px; gap: 1px; }
.bar i { background: var(--key); min-width: 1px; }
table { width: 100%; border-collapse: collapse; font-size: 13px; } th { text-align: left; color: var(--dim); font-weight: 500; }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; } td.f { width: 100%; }
td .dot { display: inline-block; width: 9px; height: 9px; border-radius: 3px; margin-right: 7px; background: var(--key); }
`;
