"""Task files: one TOML file a task. Unknown keys are refused with their path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from dicom_io.codes import Code
from dicom_io.snomed import current
from learner.domain.task import Label, MatchingRule, Task
from learner.errors import ConfigurationError
from learner.settings_access import Section
from learner.toml_models import validated


class _CodeFile(Section):
    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)

    def code(self) -> Code:
        return current(Code(self.value, self.scheme, self.meaning))


class _MappedCodeFile(Section):
    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _decisive(self) -> Self:
        if self.code().is_generic:
            raise ValueError(f"{self.value} ({self.scheme}) is written where nobody chose a code, and stands for no label")
        return self

    def code(self) -> Code:
        return current(Code(self.value, self.scheme, ""))


class _LabelFile(Section):
    name: str = Field(min_length=1, max_length=48)
    category: _CodeFile
    type: _CodeFile
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    codes: tuple[_MappedCodeFile, ...] = ()
    names: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()

    def rgb(self) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red, green, blue


class _MatchFile(Section):
    modalities: tuple[str, ...] = Field(min_length=1)
    series_description: str = ""
    body_part: str = ""
    protocol_name: str = ""
    study_description: str = ""
    min_slices: int = Field(2, ge=2)

    @model_validator(mode="after")
    def _patterns(self) -> Self:
        for name in ("series_description", "body_part", "protocol_name", "study_description"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ValueError(f"{name} is no regular expression ({error})") from None
        return self


class _TaskFile(Section):
    title: str = Field(min_length=1)
    answer_undrawn: bool = True
    propagator: str = ""
    model: str = ""
    warm_start: Path | None = None
    match: _MatchFile
    labels: tuple[_LabelFile, ...] = Field(min_length=1, max_length=254)

    @model_validator(mode="after")
    def _names_apart(self) -> Self:
        names = [name.strip().casefold() for label in self.labels for name in {label.name, *label.names}]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two labels share the name {twice[0]!r}")
        return self


def load_tasks(folder: Path) -> list[Task]:
    """Tasks of a folder, one TOML file each, in the order of their names; a file's name is the task's.

    Raises:
        ConfigurationError: names the file, the key and the remedy.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder; set tasks.folder to the folder of task files")
    return [load_task(path) for path in sorted(folder.glob("*.toml"))]


def load_task(path: Path) -> Task:
    """One task.

    Raises:
        ConfigurationError: names the file, the key and the remedy.
    """
    file = validated(_TaskFile, path)
    labels = tuple(
        Label(
            number,
            label.name,
            label.category.code(),
            label.type.code(),
            label.rgb(),
            tuple(code.code() for code in label.codes),
            label.names,
        )
        for number, label in enumerate(file.labels, start=1)
    )
    rule = MatchingRule(**file.match.model_dump())
    try:
        start = str(path.resolve().parent / file.warm_start) if file.warm_start is not None else ""
        return Task(path.stem, file.title, labels, rule, file.answer_undrawn, file.propagator, file.model, start)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}; rename the file, or change `model`") from None
