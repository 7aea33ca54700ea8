"""A settings file and task files to begin with: every key with its meaning, those that are not set commented out."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from learner.settings import Settings

_WIDTH = 110
_COLOURS = ("#e6783c", "#50a0e6", "#6ebe5a", "#c86ec8", "#e6c850", "#5ac8c8")
_LOCAL_SCHEME = "99LOCAL"
_CODE_LENGTH = 16


@dataclass(frozen=True, slots=True)
class NewLabel:
    """One label of a new task.

    Attributes:
        name: what readers see.
        code: its SNOMED CT code; empty for a local one, made from the name.
    """

    name: str
    code: str = ""


def settings_template(values: Mapping[str, Mapping[str, object]]) -> str:
    """A settings file.

    Args:
        values: by section and key; they are set, all others stand as comments with their defaults.
    """
    parts = ["# Settings of a PACS Apprentice node. Relative paths are relative to this file's folder.", ""]
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        parts += [*_comment(str(model.__doc__).partition("\n")[0]), f"[{name}]"]
        parts += [*_keys(model, values.get(name, {})), ""]
    return "\n".join(parts)


def _keys(model: type[BaseModel], values: Mapping[str, object]) -> Iterator[str]:
    for key, field in model.model_fields.items():
        yield from _comment(str(field.description))
        if key in values:
            yield f"{key} = {_toml(values[key])}"
        else:
            yield f"# {key} = {_toml('' if field.default is None else field.default)}"


def task_template(title: str, modalities: Sequence[str], series_description: str, labels: Sequence[NewLabel]) -> str:
    """A task file.

    Args:
        title: one line for people.
        modalities: of the image series.
        series_description: regular expression; empty for any.
        labels: 1..n.
    """
    rule = f"series_description = {_toml(series_description)}"
    lines = [
        f"title = {_toml(title)}",
        "answer_undrawn = true # predict and guide on new series before anything is drawn, once a network serves",
        "",
        "# Which image series this task is about; every part that is given has to hold.",
        "[match]",
        f"modalities = {_toml(list(modalities))}",
        f"{rule if series_description else f'# {rule}'} # regular expression, upper and lower case alike",
        '# body_part = ""',
        '# protocol_name = ""',
        '# study_description = ""',
        "min_slices = 3",
    ]
    for number, label in enumerate(labels):
        lines += ["", *_label(label, _COLOURS[number % len(_COLOURS)])]
    return "\n".join([*lines, ""])


def _label(label: NewLabel, colour: str) -> Iterator[str]:
    yield "[[labels]]"
    yield f"name = {_toml(label.name)}"
    yield f"colour = {_toml(colour)}"
    yield 'category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }'
    code, scheme = label.code, "SCT"
    if not code:
        yield "# A code of this site's own. Better is that of SNOMED CT (scheme SCT), which other systems understand."
        code, scheme = re.sub(r"[^A-Z0-9]+", "_", label.name.upper()).strip("_")[:_CODE_LENGTH] or "LABEL", _LOCAL_SCHEME
    yield f"type = {{ value = {_toml(code)}, scheme = {_toml(scheme)}, meaning = {_toml(label.name)} }}"
    yield '# names = ["Leber"] # other names of it in segments'


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A value as TOML; texts, numbers, truth values and lists of them are written as in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, default=str, ensure_ascii=False)
