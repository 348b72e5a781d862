"""`qts sentiment`: scores of the texts of a file, and the job that scores headlines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qts.commands.common import Config, Json, Once, Summary, Workdir, load, report
from qts.errors import DataError

app = typer.Typer(help="Sentiment of finance texts.")


@app.command("score")
def score_file(
    source: Annotated[Path, typer.Option("--input", help="csv or parquet, one text a row.")],
    text: Annotated[str, typer.Option("--text", help="The column of texts.")],
    output: Annotated[Path, typer.Option("--output", help="The same rows with score and label, csv or parquet.")],
    scorer: Annotated[
        str, typer.Option("--scorer", help="lexicon, or a folder with a transformers model of your own.")
    ] = "lexicon",
    as_json: Json = False,
) -> None:
    """Scores texts from -1 (bad news) to 1 (good news).

    Adds the columns score and label (negative, neutral, positive). An empty text is neutral. A column of the input with
    one of these names is kept as input_score or input_label.
    """

    def work() -> Summary:
        from qts.commands.files import read_table, require_columns, write_table
        from qts.market.sentiment.scorer import LABELS, build

        model = build(scorer)
        table = read_table(source, "a table with a column of texts", as_text=True)
        require_columns(table, [text], source)
        texts = [value if isinstance(value, str) else None for value in table[text]]
        if table[text].notna().any() and not any(value is not None for value in texts):
            raise DataError(f"Column {text!r} of {source} holds {table[text].dtype}, not texts. Name another --text.")
        found = model.score(texts)
        kept: dict[str, str] = {}
        for name in (name for name in ("score", "label") if name in table.columns):
            free = f"input_{name}"
            while free in table.columns:
                free = f"input_{free}"
            kept[name] = free
        write_table(table.rename(columns=kept).assign(score=found.score, label=found.label), output)
        return {
            "rows": len(table),
            "output": str(output),
            "scorer": model.name,
            "empty": sum(not (value or "").strip() for value in texts),
            "labels": {label: found.label.count(label) for label in LABELS},
        }

    report(as_json, work)


@app.command("run")
def run_job(once: Once = False, config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Scores headlines that came in.

    Scores go to the table sentiment; decisions see them per instrument, fading with time.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import sentiment as job

        return job.run(settings, once=once)

    report(as_json, work)


def register(program: typer.Typer) -> None:
    """Adds these commands to the program."""
    program.add_typer(app, name="sentiment")
