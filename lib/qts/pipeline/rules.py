"""The rules on one row, as native Column expressions: what is broken, under which code.

A rule is never null: what cannot be compared (NaN, null) counts as broken where a value is required. The rules that
need earlier rows (late, price_jump, duplicate) are in `qts.pipeline.validate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.quality import Limits

#: Letters, digits and what vendors use inside symbols; no slash, quote, semicolon, percent sign or control character.
#: (`$` would let a line feed pass at the end.)
_SAFE_NAME = r"[A-Za-z0-9^_][A-Za-z0-9 ._:=^&+@#$-]{0,63}"
_LONGEST_NAME = 64


@dataclass(frozen=True)
class RowRule:
    """One way in which a row can be broken.

    Attributes:
        code: a key of `qts.market.quality.REASONS`.
        broken: boolean, never null.
        untimed: whether such a row has no usable time or instrument, so that it has no place in the order of its
            instrument's rows: it neither moves the clock nor can be late.
        glance: a part of the condition that is cheaper to look at; the rest is about all rows together, see
            `Landing.trusting`.
    """

    code: str
    broken: Column
    untimed: bool = False
    glance: Column | None = None


@dataclass(frozen=True)
class Landing:
    """How the candidates of one table are judged.

    Attributes:
        table: where accepted rows go.
        instrument: what a row's order and price are judged within: instrument or index.
        kind: trade, quote, index, headline.
        price: the price that jumps are judged on, or null.
        identity: columns that, with `vendor_id`, identify a record of the vendor; empty where vendors give no ids.
        rules: in the order in which reasons are listed.
        latest: the last plausible event time, nanoseconds.
    """

    table: Literal["ticks", "indices", "headlines"]
    instrument: Column
    kind: Column
    price: Column
    identity: tuple[str, ...]
    rules: tuple[RowRule, ...]
    latest: int

    @cached_property
    def sound(self) -> Column:
        """No rule on the row alone is broken."""
        return ~(_any([rule.broken for rule in self.rules]) | (F.size(_parse_errors()) > 0))

    @cached_property
    def timed(self) -> Column:
        """Time and instrument are usable."""
        broken = _any([rule.broken for rule in self.rules if rule.untimed])
        return ~(broken | _unreadable() | F.col("event_ns").isNull())

    def judged(self, candidates: DataFrame) -> DataFrame:
        """The candidates with `sound` and `timed`."""
        return candidates.withColumns({"sound": self.sound, "timed": self.timed})

    def with_rule(self, rule: RowRule) -> Landing:
        return replace(self, rules=(*self.rules, rule))

    def until(self, latest: int) -> Landing:
        """The same rules at another time of day."""
        rules = (
            replace(rule, broken=_later(rule.glance, latest))
            if rule.code == "implausible_time" and rule.glance is not None
            else rule
            for rule in self.rules
        )
        return replace(self, rules=tuple(rules), latest=latest)

    @cached_property
    def trusting(self) -> Landing:
        """With glances in place of rules, which `holds` makes good for the rows that came.

        Names are few and rows are many: matched row by row, names took a seventh of a survey's time. And the clock's
        reading differs with each batch, so that Spark would compile the same expressions anew for each.
        """
        glances = (rule if rule.glance is None else replace(rule, broken=rule.glance) for rule in self.rules)
        return replace(self, rules=tuple(glances))

    def holds(self, names: Iterable[str], newest: int) -> bool:
        """Whether no row breaks a rule that a glance does not see.

        Args:
            names: the instruments of rows that are timed by the glances.
            newest: their newest event time.
        """
        return newest <= self.latest and all_safe(names)


def all_safe(names: Iterable[str]) -> bool:
    """Whether no name is unsafe: what the rule says row by row, for the names of a whole batch."""
    given = (name for name in names if name.strip(" "))  # a name that is missing is not unsafe
    return all(re.fullmatch(_SAFE_NAME, name) and ".." not in name and "--" not in name for name in given)


def with_reasons(candidates: DataFrame, rules: Sequence[RowRule], *further: Column) -> DataFrame:
    """Adds `reasons`: the codes of all rules that a row breaks, in the rules' order; empty for a good row.

    Args:
        further: codes or nulls from elsewhere, listed last.
    """
    # A record that cannot be read has no fields; that it has no price either would say nothing new.
    readable = ~_unreadable()
    codes = [F.when(readable & rule.broken, F.lit(rule.code)) for rule in rules]
    found = F.array_compact(F.array(*codes, *further))
    return candidates.withColumn("reasons", F.array_distinct(F.concat(_parse_errors(), found)))


def tick_rules(
    limits: Limits,
    now_ns: int,
    instruments: Literal["any"] | Sequence[str] = "any",
    *,
    sized: bool = False,
) -> Landing:
    """Trades and quotes.

    Args:
        now_ns: the batch's clock, nanoseconds since 1970-01-01 UTC.
        instruments: the names that are allowed.
        sized: whether the source gives sizes, so that a trade without one is broken. Otherwise a missing size means
            that nobody knows it.
    """
    trade, quote = F.col("kind") == "trade", F.col("kind") == "quote"
    price, size, bid, ask = (F.col(name) for name in ("price", "size", "bid", "ask"))
    unfinite_size = ~_finite(size) if sized else size.isNotNull() & ~_finite(size)
    quoted_sizes = [F.col("bid_size"), F.col("ask_size")]
    rules = (
        *_time_rules(limits, now_ns),
        *_name_rules(F.col("instrument"), instruments),
        _rule("unknown_kind", ~F.coalesce(trade | quote, F.lit(False))),
        _rule("price_not_finite", (trade & ~_finite(price)) | (quote & ~(_finite(bid) & _finite(ask)))),
        _rule(
            "price_not_positive", (trade & _not_positive(price)) | (quote & (_not_positive(bid) | _not_positive(ask)))
        ),
        _rule(
            "size_not_finite",
            (trade & unfinite_size) | (quote & _any([s.isNotNull() & ~_finite(s) for s in quoted_sizes])),
        ),
        _rule("size_not_positive", (trade & _not_positive(size)) | (quote & _any([s < 0 for s in quoted_sizes]))),
        _rule("quote_crossed", quote & _finite(bid) & _finite(ask) & (bid > ask)),
        _rule("flagged", F.col("flagged")),
    )
    middle = F.when(trade, price).otherwise((bid + ask) / 2)
    identity = ("instrument", "venue", "kind", "vendor_id", "event_ns")
    latest = now_ns + limits.future_tolerance
    return Landing("ticks", F.col("instrument"), F.col("kind"), middle, identity, rules, latest)


def index_rules(limits: Limits, now_ns: int, names: Literal["any"] | Sequence[str] = "any") -> Landing:
    """Values of indices: name in `instrument`, value in `price`.

    Any finite value is good, for rates and even oil have been negative.
    """
    rules = (
        *_time_rules(limits, now_ns),
        *_name_rules(F.col("instrument"), names),
        _rule("value_not_finite", ~_finite(F.col("price"))),
    )
    nothing, latest = F.lit(None).cast("double"), now_ns + limits.future_tolerance
    return Landing("indices", F.col("instrument"), F.lit("index"), nothing, (), rules, latest)


def headline_rules(limits: Limits, now_ns: int, instruments: Literal["any"] | Sequence[str] = "any") -> Landing:
    """Texts; a text need not be about one instrument."""
    name = F.col("instrument")
    rules = (
        *_time_rules(limits, now_ns),
        *[rule for rule in _name_rules(name, instruments) if rule.code != "missing_instrument"],
        _rule("missing_text", F.trim(F.coalesce("text", F.lit(""))) == ""),
    )
    group, nothing = F.coalesce(name, F.lit("")), F.lit(None).cast("double")
    return Landing("headlines", group, F.lit("headline"), nothing, (), rules, now_ns + limits.future_tolerance)


def _rule(code: str, broken: Column, *, untimed: bool = False, glance: Column | None = None) -> RowRule:
    return RowRule(code, F.coalesce(broken, F.lit(False)), untimed, glance)


def _time_rules(limits: Limits, now_ns: int) -> tuple[RowRule, ...]:
    time = F.col("event_ns")
    early = F.coalesce(time < limits.earliest, F.lit(False))
    return (
        _rule("missing_time", time.isNull() & ~_has_error("bad_time"), untimed=True),
        _rule("implausible_time", _later(early, now_ns + limits.future_tolerance), untimed=True, glance=early),
    )


def _later(early: Column, latest: int) -> Column:
    return early | F.coalesce(F.col("event_ns") > latest, F.lit(False))


def _name_rules(name: Column, known: Literal["any"] | Sequence[str]) -> tuple[RowRule, ...]:
    safe = name.rlike(rf"\A{_SAFE_NAME}\z") & ~name.contains("..") & ~name.contains("--")
    # All safe characters are one byte long.
    long = F.coalesce(F.octet_length(name) > _LONGEST_NAME, F.lit(False))
    missing = F.coalesce(F.trim(name) == "", F.lit(True))
    rules = [
        _rule("missing_instrument", missing, untimed=True),
        _rule("unsafe_instrument", ~missing & ~safe, untimed=True, glance=~missing & long),
    ]
    if known != "any":
        rules.append(_rule("unknown_instrument", ~missing & ~name.isin(*known), untimed=True))
    return tuple(rules)


def _finite(value: Column) -> Column:
    # Spark orders NaN above infinity, so one comparison refuses both.
    return F.coalesce(F.abs(value) < float("inf"), F.lit(False))


def _not_positive(value: Column) -> Column:
    return F.coalesce(value <= 0, F.lit(False))


def _any(conditions: Sequence[Column]) -> Column:
    return reduce(or_, [F.coalesce(condition, F.lit(False)) for condition in conditions], F.lit(False))


def _parse_errors() -> Column:
    return F.coalesce(F.col("parse_errors"), F.array().cast("array<string>"))


def _has_error(code: str) -> Column:
    return F.array_contains(_parse_errors(), code)


def _unreadable() -> Column:
    return F.arrays_overlap(_parse_errors(), F.array(F.lit("unparseable_record"), F.lit("unreadable_file")))
