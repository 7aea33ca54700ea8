"""The reference of all settings as Markdown, made from the models that check them.

``python -m learner.settings_reference > docs/configuration.md`` writes it anew; a test holds the file against the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from learner.settings import Settings

Schema = Mapping[str, Any]
_HEAD = """\
# Settings

Made from `learner/settings.py` by `python -m learner.settings_reference > docs/configuration.md`; do not edit it here.

A node reads one TOML file (`apprentice serve --config config/apprentice.toml`, or the environment variable `APPRENTICE_CONFIG`)
and a folder of task files. Every key may be left out. Relative paths are relative to the folder of the file that holds them.
A file that systemd passes as a credential (`LoadCredential=` with the file's name) is read from there instead.
Unknown keys are refused, with their name. `apprentice doctor` checks all of it against the site.
"""
_TASKS = """\
## Task files

One TOML file a task in the folder that `tasks.folder` names; the file's name without `.toml` is the task's: lower-case letters,
digits, `-` and `_`, 40 at most. See `config/tasks/` for examples.

| key | type | default | meaning |
|---|---|---|---|
| `title` | text | | One line for people. |
| `answer_undrawn` | true or false | `true` | Whether a new series gets a prediction and guidance before anything is drawn. |
| `propagator` | text | `""` | Propagation method of this task; empty for `answer.propagator`. |
| `model` | text | the task's name | Name of the task's model; tasks that name the same one share it. |
| `warm_start` | path | | Folder of a MONAI bundle from which the model begins; see [export.md](export.md). |
| `match.modalities` | list of texts | | Modality (0008,0060) of the image series, any of them. |
| `match.series_description` | regular expression | `""` | Searched in Series Description; case plays no part; empty for any. |
| `match.body_part` | regular expression | `""` | Searched in Body Part Examined. |
| `match.protocol_name` | regular expression | `""` | Searched in Protocol Name. |
| `match.study_description` | regular expression | `""` | Searched in Study Description. |
| `match.min_slices` | integer, 2 or more | `2` | Least number of instances. |
| `labels.name` | text, 48 characters at most | | What readers see; matches a segment whose code matches no label. |
| `labels.category` | code | | Segmented property category (PS3.16 CID 7150). |
| `labels.type` | code | | Segmented property type; a segment with this code has this label. |
| `labels.colour` | `#rrggbb` | | Recommended display colour. |
| `labels.codes` | list of codes | `[]` | Other types that mean this label, such as `{ value = "T-62000", scheme = "SRT" }`. |
| `labels.names` | list of texts, 64 characters at most | `[]` | Other names of it in segments, such as `"Leber"`. |

`[[labels]]` stands once for each label, 254 times at most; the first is label 1. A code is such as
`{ value = "5366008", scheme = "SCT", meaning = "Hippocampus" }`. Every part of `match` that is given has to hold.
"""


def reference() -> str:
    """The whole reference."""
    schema = Settings.model_json_schema()
    parts = [_HEAD]
    for name, section in schema["properties"].items():
        parts.append("\n".join(_section(name, schema["$defs"][_reference(section)])))
    return "\n".join([*parts, _TASKS])


def _reference(section: Schema) -> str:
    return str(section["$ref"]).rpartition("/")[2]


def _section(name: str, schema: Schema) -> Iterator[str]:
    yield f"## `[{name}]`"
    yield ""
    yield str(schema["description"])
    yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, field in schema["properties"].items():
        default = "" if field.get("default") is None else f"`{json.dumps(field['default'])}`"
        yield f"| `{key}` | {_type(field)} | {default} | {field['description']} |"
    yield ""


def _type(field: Schema) -> str:
    """The type and its bounds in words."""
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    kind = {"string": "text", "boolean": "true or false", "integer": "integer", "number": "number"}[field["type"]]
    if field.get("format") == "path":
        kind = "path"
    bounds = [
        f"{field[bound]} {words}" if bound in {"minimum", "maxLength", "maximum"} else f"{words} {field[bound]}"
        for bound, words in _BOUNDS
        if bound in field
    ]
    return ", ".join([kind, *bounds])


_BOUNDS = (
    ("minimum", "or more"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("maxLength", "characters at most"),
)


if __name__ == "__main__":
    sys.stdout.write(reference())
