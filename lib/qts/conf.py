"""Conf files: where they are, and YAML that may extend another file. Knows nothing of what the keys mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from qts.errors import ConfigError, MissingInput


def conf_dir() -> Path:
    """The folder of the conf files that come with QTS: inside the installed wheel, or conf/ of a checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "_conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def conf_file(name: str) -> Path:
    """A conf file by its name below conf/, say `mappings/taq_trades.yml`; the current folder's conf/ goes first.

    Returns:
        An absolute path. Where no such file exists, the path where QTS would have it, so that an error can name it.
    """
    own = Path("conf", name).absolute()
    return own if own.is_file() else conf_dir() / name


def read_yaml(path: Path) -> dict[str, Any]:
    """One YAML file that holds a mapping.

    Raises:
        MissingInput: there is no such file.
        ConfigError: it is not YAML, names a key twice, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingInput(f"There is no conf file {path}. Name one that exists (--config FILE).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Conf file {path} cannot be read: {error}. It has to be UTF-8 text.") from error
    try:
        data = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"Conf file {path} is not valid YAML: {_one_line(error)}.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"Conf file {path} holds a {type(data).__name__}; expected `key: value` lines.")
    if odd := [key for key in data if not isinstance(key, str)]:
        raise ConfigError(f"Conf file {path} has the key {odd[0]!r}; expected a name.")
    return data


def read_conf(path: Path) -> dict[str, Any]:
    """A conf file over the files that it extends (`extends: base.yml`, relative to itself); paths stay as written.

    Raises:
        MissingInput: a file does not exist.
        ConfigError: a file is unusable, or extends itself.
    """
    return merge(*(data for _, data in conf_chain(path)))


def conf_chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The files behind one conf file, the most general first, each with its own keys (without `extends`)."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    following: Path | None = path
    while following is not None:
        here = following.resolve()
        if here in (seen for seen, _ in chain):
            raise ConfigError(f"Conf file {path} extends itself through {here}. Remove one `extends`.")
        data = read_yaml(here)
        base = data.pop("extends", None)
        if base is not None and not isinstance(base, str):
            raise ConfigError(f"extends in {here} is {base!r}; expected the name of one conf file.")
        chain.append((here, data))
        following = here.parent / base if base else None
    return chain[::-1]


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over one another, the last one on top; lists are replaced as a whole.

    >>> merge({"trade": {"cash": 5, "seed": 1}}, {"trade": {"seed": 2}})
    {'trade': {'cash': 5, 'seed': 2}}
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                merged[key] = merge(below, value)
            else:
                merged[key] = value
    return merged


class _UniqueKeys(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML itself lets the last of two equal keys win in silence; a conf file must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)):
                continue  # refused by the base class with a good message
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _one_line(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else str(problem)
