"""`qts sentiment`: scores of the texts of a file, and the job that scores headlines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qts.commands.common import Config, Json, Once, Summary, Workdir, load, report
from qts.errors import DataError, MissingInput

if TYPE_CHECKING:
    import pandas as pd

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
        from qts.commands.files import require_columns, write_table
        from qts.market.sentiment.scorer import LABELS, build

        model = build(scorer)
        table = _read(source)
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


def _read(source: Path) -> pd.DataFrame:
    """The file with all cells of a csv as the text that they are: "NA" and "null" are words here."""
    import pandas as pd

    from qts.commands.files import read_table

    if source.suffix in {".parquet", ".pq"}:
        return read_table(source, "a table with a column of texts")
    if not source.is_file():
        raise MissingInput(f"There is no file {source}; expected a table with a column of texts.")
    for encoding in ("utf-8-sig", "latin-1"):  # many a collection of old news is latin-1, which reads any byte
        try:
            table = pd.read_csv(source, dtype=str, keep_default_na=False, encoding=encoding)
        except UnicodeDecodeError:
            continue
        except (ValueError, OSError, EOFError) as error:
            reason = str(error).strip().split("\n")[0]
            raise DataError(f"{source} cannot be read as csv: {reason}. Texts with commas belong in quotes.") from error
        break
    if table.empty:
        raise MissingInput(f"{source} has no rows; expected one text a row.")
    return table


def register(program: typer.Typer) -> None:
    """Adds these commands to the program."""
    program.add_typer(app, name="sentiment")
