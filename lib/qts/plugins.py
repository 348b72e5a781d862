"""Objects named in configuration: a built-in by its short name, a user's own class by its dotted path.

A user adds a strategy or a policy in a file of his own and names it `my_module:MyClass`; the package stays untouched.
A package of his own may instead give it a short name by an entry point, in the group `qts.strategy` or `qts.policy`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Mapping
from typing import Any, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from qts.errors import ConfigError, did_you_mean

#: A parameter must have its declared type (an int will do for a float) and be a number: no "12", no NaN.
_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def create(name: str, parameters: Mapping[str, Any], builtin: Mapping[str, type[Any]], kind: str) -> Any:
    """An object of the class that `name` names, made with `parameters`.

    Args:
        name: a key of `builtin` or `package.module:Class`.
        parameters: keyword arguments of the class.
        builtin: short names and their classes.
        kind: what is made, for messages: `strategy`, `policy`.

    Raises:
        ConfigError: unknown name or parameter (with the nearest known one), a missing one, or a value of the wrong
            type or out of range.
    """
    cls = _find(name, builtin, kind)
    signature = inspect.signature(cls, eval_str=True)
    keywords = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    declared = {key: entry for key, entry in signature.parameters.items() if entry.kind in keywords}
    for key in parameters:
        if key not in declared:
            known = f"its parameters are {', '.join(declared)}" if declared else "it has no parameters"
            raise ConfigError(f"The {kind} {name} has no parameter {key!r}; {known}.{did_you_mean(str(key), declared)}")
    for key, entry in declared.items():
        if key not in parameters and entry.default is inspect.Parameter.empty:
            raise ConfigError(f"The {kind} {name} needs the parameter {key!r}; give it a value.")
    values = {key: _checked(value, declared[key].annotation, f"{name}.{key}") for key, value in parameters.items()}
    return cls(**values)


def require(holds: bool, owner: object, expected: str) -> None:
    """Refuses parameters that make no sense.

    Raises:
        ConfigError: `holds` is false; the message shows `owner` with its parameters and what was `expected`.
    """
    if not holds:
        raise ConfigError(f"{owner!r} makes no sense: expected {expected}.")


def _find(name: str, builtin: Mapping[str, type[Any]], kind: str) -> type[Any]:
    if name in builtin:
        return builtin[name]
    if ":" not in name:
        # Looked up only here, for it reads the metadata of all installed packages.
        installed = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=f"qts.{kind}")}
        if name not in installed:
            known = [*builtin, *installed]
            raise ConfigError(
                f"There is no {kind} {name!r}; known are {', '.join(sorted(known))}, and a class of your own is named "
                f"package.module:Class.{did_you_mean(name, known)}"
            )
        name = installed[name]
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"The {kind} {name!r} cannot be imported: {error}. Put its module on the Python path of driver and workers."
        ) from error
    cls = getattr(module, attribute, None)
    if not inspect.isclass(cls):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise ConfigError(
            f"The module {module_name} has no class {attribute!r}; it has {', '.join(classes) or 'none'}."
            f"{did_you_mean(attribute, classes)}"
        )
    return cls


def _checked(value: Any, annotation: Any, where: str) -> Any:
    if annotation is inspect.Parameter.empty:
        return value
    if isinstance(value, list) and get_origin(annotation) is tuple:
        value = tuple(value)  # YAML and JSON have lists only
    try:
        return TypeAdapter(annotation, config=_STRICT).validate_python(value)
    except ValidationError as error:
        wanted = getattr(annotation, "__name__", str(annotation))
        raise ConfigError(f"{where} is {value!r}, expected {wanted}: {error.errors()[0]['msg']}.") from None
