"""A study as one HTML page that needs nothing else: figures, curves, and what they are worth."""

from __future__ import annotations

import html as escape
import math
from collections.abc import Mapping

import numpy as np

from qts.backtest.study import Study, verdict
from qts.market.bar import Array, IntArray

_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
_SHOWN = 6
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900.0, 300.0, 60.0, 24.0
_COLUMNS = (
    ("annual_return", "return a year", "{:.1%}"),
    ("volatility", "volatility", "{:.1%}"),
    ("sharpe", "Sharpe", "{:.2f}"),
    ("sortino", "Sortino", "{:.2f}"),
    ("calmar", "Calmar", "{:.2f}"),
    ("max_drawdown", "max drawdown", "{:.1%}"),
    ("turnover", "turnover a year", "{:.1f}"),
    ("exposure", "exposure", "{:.0%}"),
    ("trades", "round trips", "{:.0f}"),
    ("win_rate", "won", "{:.0%}"),
    ("beta", "beta", "{:.2f}"),
    ("alpha", "alpha", "{:.1%}"),
)
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: 2px 8px; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f5f5f5 }
thead th { border-bottom: 1px solid #999; white-space: normal; vertical-align: bottom }
.benchmark td { border-bottom: 1px solid #999; font-style: italic } .verdict { font-size: 1.15em; font-weight: 600 }
.scroll { overflow-x: auto } svg { max-width: 100%; height: auto } svg text { font-size: 11px; fill: #444 }
"""


def html(study: Study, scenarios: Mapping[str, Study] | None = None) -> str:
    """The page. It holds its style and its plots (SVG) itself and loads nothing.

    Args:
        scenarios: further studies by the name of their scenario.
    """
    parts = ["<h1>Backtest</h1>", f'<p class="verdict">{_text(verdict(study))}</p>', _about(study), _table(study)]
    if len(study.times) > 1:
        shown = _best(study)
        curves: dict[str, Array] = {"buy-and-hold": np.cumprod(1.0 + study.benchmark).astype(np.float64)} | {
            study.outcomes[place].name: study.outcomes[place].equity for place in shown
        }
        falls: dict[str, Array] = {
            name: np.asarray(curve / np.maximum.accumulate(np.maximum(curve, 1.0)) - 1.0)
            for name, curve in curves.items()
        }
        parts += ["<h2>Growth of 1, logarithmic: the best by Sharpe ratio</h2>", _plot(study.times, curves, log=True)]
        parts += ["<h2>Drawdown</h2>", _plot(study.times, falls, log=False)]
    for name, each in (scenarios or {}).items():
        parts += [f"<h2>Scenario: {_text(name)}</h2>", _table(each)]
    failed = [outcome for outcome in study.outcomes if outcome.error]
    if failed:
        items = "".join(f"<li>{_text(outcome.name)}: {_text(outcome.error)}</li>" for outcome in failed)
        parts += ["<h2>Failed</h2>", f"<ul>{items}</ul>"]
    noted = [(outcome.name, note) for outcome in study.outcomes for note in outcome.notes]
    if noted:
        items = "".join(f"<li>{_text(name)}: {_text(note)}</li>" for name, note in noted)
        parts += ["<h2>Notes on experiments</h2>", f"<ul>{items}</ul>"]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>QTS backtest</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _about(study: Study) -> str:
    spa = ", ".join(f"{contest.spa_p:.3f} against {name}" for name, contest in study.contests.items())
    facts = [
        f"{len(study.outcomes)} experiments over {len(study.times):,} bars, {study.periods_per_year:.1f} a year.",
        f"{study.trials:,} trials on these instruments in all, which the deflated Sharpe ratios allow for.",
        f"Hansen's SPA test, p: {spa.replace('_', ' ')}.",
        f"Probability of backtest overfitting (CSCV): {_number(study.pbo, '{:.0%}')}.",
        "Returns are net of fees, half-spread, slippage and borrowing; orders are filled at the next price.",
        *study.notes,
    ]
    return "<ul>" + "".join(f"<li>{_text(fact)}</li>" for fact in facts) + "</ul>"


def _table(study: Study) -> str:
    heads = ["", *(title for _, title, _ in _COLUMNS), "t", "p", "deflated Sharpe", "p of excess"]
    head = "".join(f"<th>{_text(each)}</th>" for each in heads)
    benchmark = "".join(
        f"<td>{_number(study.benchmark_metrics.get(key, math.nan), shape)}</td>" for key, _, shape in _COLUMNS
    )
    rows = [f'<tr class="benchmark"><td>buy-and-hold, equal weight</td>{benchmark}{"<td></td>" * 4}</tr>']
    for outcome, evidence in zip(study.outcomes, study.evidence, strict=True):
        if evidence is None:
            continue
        cells = "".join(f"<td>{_number(evidence.metrics[key], shape)}</td>" for key, _, shape in _COLUMNS)
        tests = ((evidence.t, "{:.2f}"), (evidence.p, "{:.3f}"), (evidence.deflated_sharpe, "{:.3f}"))
        cells += "".join(
            f"<td>{_number(value, shape)}</td>" for value, shape in (*tests, (evidence.excess_p, "{:.3f}"))
        )
        rows.append(f"<tr><td>{_text(outcome.name)}</td>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _best(study: Study) -> list[int]:
    ratios = [evidence.metrics["sharpe"] if evidence else math.nan for evidence in study.evidence]
    known = [place for place, ratio in enumerate(ratios) if math.isfinite(ratio)]
    return sorted(known, key=lambda place: -ratios[place])[:_SHOWN]


def _plot(times: IntArray, curves: Mapping[str, Array], log: bool) -> str:
    """Lines over time as SVG; at most some hundred points each."""
    step = max(1, len(times) // 800)
    rows = np.append(np.arange(0, len(times) - 1, step), len(times) - 1)
    drawn = {name: (np.log(np.maximum(curve, 1e-9)) if log else curve)[rows] for name, curve in curves.items()}
    low, high = min(float(each.min()) for each in drawn.values()), max(float(each.max()) for each in drawn.values())
    high = high if high > low else low + 1.0
    x = _LEFT + (times[rows] - times[0]) / max(int(times[-1] - times[0]), 1) * (_WIDTH - _LEFT - 10)

    def y(value: Array) -> Array:
        return np.asarray(10 + (high - value) / (high - low) * (_HEIGHT - _BOTTOM - 10))

    lines = []
    for place, (name, values) in enumerate(drawn.items()):
        colour = "#888" if place == 0 else _COLOURS[(place - 1) % len(_COLOURS)]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y(values).tolist(), strict=True))
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.2" points="{points}"/>')
        lines.append(
            f'<text x="{_LEFT + 8}" y="{22 + 14 * place}" style="fill:{colour};font-weight:600">{_text(name)}</text>'
        )
    ticks = np.linspace(low, high, 5)
    for value, height in zip(ticks.tolist(), y(ticks).tolist(), strict=True):
        label = f"{math.exp(value):.2f}" if log else f"{value:.0%}"
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{height:.1f}" y2="{height:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{label}</text>')
    for share in np.linspace(0, 1, 6):
        at = times[0] + share * (times[-1] - times[0])
        anchor = "end" if share == 1 else "middle"
        where = _LEFT + share * (_WIDTH - _LEFT - 10)
        day = np.datetime64(int(at), "ns").astype("datetime64[D]")
        lines.append(f'<text x="{where:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{day}</text>')
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img">{"".join(lines)}</svg>'


def _number(value: float, shape: str) -> str:
    return shape.format(value) if math.isfinite(value) else "-"


def _text(value: str) -> str:
    return escape.escape(str(value))
