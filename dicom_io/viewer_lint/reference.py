"""All rules as Markdown.

``python -m dicom_io.viewer_lint.reference > docs/viewer-lint.md`` writes the page anew; a test holds the file against the code.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from enum import StrEnum

from dicom_io.viewer_lint import captures, frames, general, key_objects, maps, rtstruct, seg, sr
from dicom_io.viewer_lint.model import Kind, Viewer

_HEAD = """\
# What viewers show: the rules of `apprentice lint`

Made from `dicom_io/viewer_lint/` by `python -m dicom_io.viewer_lint.reference > docs/viewer-lint.md`; do not edit it here.

The DICOM standard allows much that viewers do not draw, or draw in the wrong place without a word. `apprentice lint` holds
any maker's object against what OHIF (with Cornerstone3D), 3D Slicer (with dcmqi and QuantitativeReporting), Weasis and Stone
are known to do with it. Every result of this node passes the same rules before it is sent.

```sh
apprentice lint FILE...                          # one or more SEG, Parametric Map, SR, KO, RTSTRUCT, Secondary Capture
apprentice lint FILE... --source FOLDER          # compared with the images too; the folder may hold other series
apprentice lint FILE... --source FOLDER --json
```

| exit code | meaning |
|---|---|
| 0 | no finding, or warnings only |
| 1 | a finding of severity *error* |
| 2 | a file, or the images that it belongs to, cannot be read (one line on standard error says why), or wrong usage |

| severity | meaning |
|---|---|
| error | a viewer that shows this kind of object shows nothing of it, or not all, or in the wrong place; never sent |
| warning | some viewer, or an older version, does not show it, or shows it less well |

Give all files of a series together: OHIF shows the last of them only, and `apprentice lint` can say so only where it sees
them.

## As JSON

One object: `version` (1; raised when a field changes its meaning or goes; fields may be added), `files`: for each file `file`
(its path), `source` (Series Instance UID of the images that it was compared with, or null), `error` (what cannot be read, or
null) and `findings`: for each `rule`, `severity` (`error`, `warning`), `viewers`, `what` (what is wrong with the object),
`reason` (what viewers make of it, and how that is known), `remedy`.

From Python: `dicom_io.viewer_lint.lint(file, source)` gives the findings, `RULES` the rules; `accept=("fractional",)` names
rules that a caller knows to be broken and accepts.

## How it is known

*Measured* is what was seen with that release: OHIF 3.12.10 in Chromium, dcmqi 1.5.7 (`segimage2itkimage`) on objects that
were spoiled one by one. A name in brackets stands in the viewer's source; OHIF's and Cornerstone3D's was read as it is in
OHIF 3.12.10. An issue number is one of the viewer's tracker. Rules without either follow from the standard.
"""
_SHOWN = """\
## Which viewer shows what

| kind | OHIF | 3D Slicer | Weasis | Stone |
|---|---|---|---|---|
| SEG BINARY | yes, and edits it | yes (QuantitativeReporting) | yes | no |
| SEG LABELMAP | since mid-2025 | yes (dcmqi) | since 4.7.0 | no |
| SEG FRACTIONAL | no | yes (dcmqi) | since 4.7.0 | no |
| Parametric Map | float32, over the images | dcmqi's reader crashed on ours (measured, 1.5.7) | not measured | not measured |
| SR TID 1500 with regions | yes | tables and lengths, no regions | as text | points and polylines |
| Key Object Selection | no | not measured | yes | not measured |
| RT Structure Set | yes | yes (SlicerRT) | yes | its RT viewer |
| Secondary Capture | yes | yes | yes | yes |

## Rules
"""
_SECTIONS = {
    "Every kind": general.RULES,
    "Segmentations and Parametric Maps": frames.RULES,
    "Segmentations": seg.RULES,
    "Parametric Maps": maps.RULES,
    "Structured Reports": sr.RULES,
    "Key Object Selections": key_objects.RULES,
    "RT Structure Sets": rtstruct.RULES,
    "Secondary Captures": captures.RULES,
}


def reference() -> str:
    """The whole page."""
    return "\n".join([_HEAD, _SHOWN, *_rules()])


def _rules() -> Iterator[str]:
    for title, rules in _SECTIONS.items():
        yield f"### {title}"
        yield ""
        yield "| rule | severity | objects | viewers | why | what to do |"
        yield "|---|---|---|---|---|---|"
        for rule in rules:
            kinds, viewers = _names(rule.kinds, Kind), _names(rule.viewers, Viewer)
            yield f"| `{rule.name}` | {rule.severity} | {kinds} | {viewers} | {rule.reason} | {rule.remedy} |"
        yield ""


def _names(chosen: Collection[StrEnum], every: type[StrEnum]) -> str:
    return "all" if set(chosen) == set(every) else ", ".join(chosen)


if __name__ == "__main__":
    sys.stdout.write(reference())
