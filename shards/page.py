"""HTML for people: one style for every page we write, light and dark, wide and narrow, with nothing fetched."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #57606a; --line: #d8dee4; --mark: #0969da;
  --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #8d96a0; --line: #30363d; --mark: #58a6ff; --card: #161b22; } }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1320px; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, td, th { color: inherit; } .soft { color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 0; background: var(--card); color: var(--ink); border: 1px solid var(--line); border-radius: 8px;
  overflow: hidden; }
figure img { display: block; width: 100%; height: auto; background: #8883; }
@media (prefers-color-scheme: dark) { figure img { filter: brightness(.85); } }
figcaption { padding: .5rem .75rem; font-size: 1rem; overflow-wrap: anywhere; }
.gallery { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 560px), 1fr)); }
a { color: var(--mark); }
select, input { font: inherit; padding: .3rem .5rem; margin: 0 .5rem .5rem 0; max-width: 100%; }
code { font-size: .95em; overflow-wrap: anywhere; }
"""


def page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers are set right with thousands marked, everything else is escaped text."""
    cells = [list(row) for row in rows]
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>\n" for row in cells)
    numeric = [isinstance(value, int | float) for value in cells[0]] if cells else [False] * len(head)
    tops = "".join(f"<th{' class=n' if n else ''}>{escape(h)}</th>" for h, n in zip(head, numeric, strict=True))
    return f'<div class="scroll"><table><tr>{tops}</tr>\n{body}</table></div>'


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"<td class=n>{value:,}</td>"
    if isinstance(value, float):
        return f"<td class=n>{value:,.6g}</td>"
    return f"<td>{escape(str(value))}</td>"
