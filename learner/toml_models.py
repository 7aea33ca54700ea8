"""TOML files against the models that say what may stand in them; what is wrong is named with its path and a remedy."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from learner.errors import ConfigurationError

_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], path: Path) -> _Model:
    """The content of a TOML file.

    Raises:
        ConfigurationError: names the file, each key that is wrong, and for an unknown one the nearest that is known.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); check the path and its rights") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {_worded(e, model)}" for e in error.errors())
        raise ConfigurationError(f"{path}: {faults}. docs/configuration.md lists every key") from None


def _worded(fault: Any, model: type[BaseModel]) -> str:
    if fault["type"] != "extra_forbidden":
        return str(fault["msg"]).removeprefix("Value error, ")
    *section, key = fault["loc"]
    near = _nearest(str(key), section, model)
    return f"unknown key, did you mean {near}?" if near else "unknown key"


def _nearest(key: str, section: Sequence[str | int], model: type[BaseModel]) -> str:
    """The known key that is most like an unknown one: of its own section, else of any; empty if none is like it."""
    found = difflib.get_close_matches(key, _fields(_at(model, section)), 1)
    if found:
        return ".".join([*map(str, section), *found])
    elsewhere = {name: f"{part}.{name}" for part in model.model_fields for name in _fields(_at(model, [part]))}
    return next((elsewhere[name] for name in difflib.get_close_matches(key, elsewhere, 1, 0.8)), "")


def _fields(model: type[BaseModel] | None) -> Sequence[str]:
    return list(model.model_fields) if model is not None else []


def _at(model: type[BaseModel] | None, path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model at a path of keys and places in lists, or None where there is none."""
    for key in path:
        if isinstance(key, str):
            field = model.model_fields.get(key) if model is not None else None
            model = _model_of(field.annotation) if field is not None else None
    return model


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is or contains, such as ``tuple[Label, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_of(one)) is not None), None)
