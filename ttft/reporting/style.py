"""The style sheet of the page: light and dark, wide and narrow screens, no external files or fonts."""

STYLE = """
:root { color-scheme: light dark; --bg: #ffffff; --fg: #1c2024; --soft: #5c6670; --rule: #dde1e6; --panel: #f6f7f9;
  --c0: #0b5fa5; --c1: #c2410c; --c2: #0f766e; --c3: #7e22ce; --c4: #8a6100; --c5: #be185d;
  --s0: #f2c14e; --s1: #d9684a; --s2: #7fb59a; --s3: #1d4e89; --s4: #8ab6e8; --s5: #9aa3ad; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14171a; --fg: #e6e9ec; --soft: #9aa5b0; --rule: #333a41; --panel: #1d2125;
    --c0: #6cb6ff; --c1: #ff9a6b; --c2: #4fd1bd; --c3: #cf9bff; --c4: #e3b341; --c5: #ff8fbe;
    --s3: #4d7fc0; --s4: #b9d6f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 60px; max-width: 1000px; background: var(--bg); color: var(--fg);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1rem; color: var(--soft); font-weight: 600; margin: 0 0 8px; }
h2 { font-size: 1.05rem; margin: 48px 0 4px; overflow-wrap: anywhere; }
h1 + section h2 { margin-top: 12px; }
h3 { font-size: 1rem; margin: 32px 0 8px; }
p.headline { font-size: 1.4rem; line-height: 1.35; margin: 4px 0 20px; text-wrap: pretty; }
.scroll { overflow-x: auto; border: 1px solid var(--rule); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 8px 12px; color: var(--soft); }
th, td { padding: 6px 12px; text-align: right; border-top: 1px solid var(--rule); vertical-align: top;
  white-space: nowrap; }
thead th { border-top: 0; background: var(--panel); font-weight: 600; vertical-align: bottom; white-space: normal; }
caption + thead th { border-top: 1px solid var(--rule); }
th:first-child, td:first-child, table.words th, table.words td,
table.prompts th:nth-child(2), table.prompts td:nth-child(2) { text-align: left; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 9em; }
table.words td { white-space: normal; overflow-wrap: anywhere; }
table.words td:first-child { color: var(--soft); width: 30%; }
ul { padding-left: 20px; color: var(--soft); font-size: .9rem; }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 8px 32px; }
.grid2 > div { min-width: 0; }
.grid2 .scroll { margin-bottom: 10px; }
svg { display: block; width: 100%; height: auto; }
.bars { max-width: 620px; margin-bottom: 14px; }
svg text { fill: var(--fg); font-size: 13px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .9rem; margin: 4px 0 8px; }
.legend span { display: inline-flex; align-items: center; gap: 7px; overflow-wrap: anywhere; }
svg.key { width: 34px; height: 12px; flex: none; }
svg.swatch { width: 13px; height: 13px; flex: none; }
.grid { stroke: var(--rule); }
.ref { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 5 4; }
.line { fill: none; stroke: currentColor; stroke-width: 2.2; }
.mark { fill: currentColor; stroke: var(--bg); stroke-width: 1; }
.band { fill: currentColor; opacity: .13; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
rect[class^="s"] { stroke: var(--bg); stroke-width: 1; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); }
.s3 { fill: var(--s3); } .s4 { fill: var(--s4); } .s5 { fill: var(--s5); }
details { margin: 8px 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
@media (max-width: 600px) { body { padding: 16px 14px 40px; } p.headline { font-size: 1.2rem; }
  th, td { padding: 6px 8px; } td:first-child { min-width: 5.5em; }
  table.main th:nth-child(2), table.main td:nth-child(2) { display: none; } }
"""
