"""Settings of a node: one TOML file and a folder of task files beside it. Unknown keys are refused with their path."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dicom_io.codes import Code
from learner.domain.task import Label, MatchingRule, Task
from learner.errors import ConfigurationError

_Model = TypeVar("_Model", bound=BaseModel)
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSettings(_Section):
    """What this node is called and where it keeps what it knows."""

    data: Path = Field(Path("var/apprentice"), description="Folder of store, checkpoints and replay memory.")
    log_format: Literal["json", "text"] = Field("json", description="Form of the log on standard error.")


class PacsSettings(_Section):
    """The archive."""

    url: str = Field("http://127.0.0.1:8042", description="Base address of Orthanc's REST API.")
    user: str = Field("", description="User of Orthanc; empty for none.")
    password_file: Path | None = Field(None, description="File that holds the user's password.")
    store_by: Literal["rest", "dicomweb", "dimse"] = Field("rest", description="How results are stored.")
    dicomweb_root: str = Field("/dicom-web/", description="Path of the DICOMweb API below `url`.")
    dimse_host: str = Field("127.0.0.1", description="Host of the archive's C-STORE service.")
    dimse_port: Port = Field(4242, description="Port of the archive's C-STORE service.")
    called_aet: str = Field("ORTHANC", max_length=16, description="The archive's AE title.")
    calling_aet: str = Field("APPRENTICE", max_length=16, description="This node's AE title.")
    poll_s: float = Field(2.0, gt=0, description="Longest time between two looks at the log, in seconds, without a nudge.")
    reconcile_s: float = Field(300.0, gt=0, description="Time between two reconciliation scans, in seconds.")
    timeout_s: float = Field(30.0, gt=0, description="Longest wait for an answer of the archive, in seconds.")


class ApiSettings(_Section):
    """The node's own HTTP service."""

    host: str = Field("127.0.0.1", description="Address to listen on; anything but loopback needs `token_file`.")
    port: Port = Field(8075, description="Port to listen on.")
    token_file: Path | None = Field(None, description="File that holds the bearer token that every request must carry.")
    viewer_url: str = Field("", description="Address of a study in a viewer, `{study}` for its UID; empty for no link.")

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> Self:
        if self.host not in {"127.0.0.1", "::1", "localhost"} and self.token_file is None:
            raise ValueError("an address beyond loopback needs token_file")
        return self


class TasksSettings(_Section):
    """What is segmented."""

    folder: Path = Field(Path("tasks"), description="Folder of task files, one TOML file a task.")
    from_annotations: bool = Field(False, description="Whether an annotation that no task matches makes a task of its own.")


class AnswerSettings(_Section):
    """How triggers are answered."""

    propagator: str = Field("chained-flow", description="Name of the front end's propagation method.")
    keep_superseded: bool = Field(False, description="Whether results of earlier rounds stay in the archive.")
    residual_map: bool = Field(False, description="Whether the residual is stored as a Parametric Map as well.")
    threads: int = Field(2, ge=1, description="CPU threads of the answering process.")
    image_cache_mb: int = Field(512, ge=0, description="Voxels of recent series kept in memory, in MiB.")
    attempts: int = Field(5, ge=1, description="How often an unexpected failure is tried before the job is parked.")


class LearningSettings(_Section):
    """How the node learns."""

    steps: int = Field(20, ge=1, description="Training steps a learn job.")
    threads: int = Field(2, ge=1, description="CPU threads of the trainer.")
    seed: int = Field(1, ge=0, description="Seed of weights and sampling.")
    replay_mb: int = Field(4096, ge=1, description="Size of the replay memory of a task on disk, in MiB.")
    keep_checkpoints: int = Field(5, ge=2, description="How many versions of a model stay on disk.")


class Settings(_Section):
    """All settings of a node."""

    node: NodeSettings = NodeSettings()
    pacs: PacsSettings = PacsSettings()
    api: ApiSettings = ApiSettings()
    tasks: TasksSettings = TasksSettings()
    answer: AnswerSettings = AnswerSettings()
    learning: LearningSettings = LearningSettings()


class _CodeFile(_Section):
    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)

    def code(self) -> Code:
        return Code(self.value, self.scheme, self.meaning)


class _LabelFile(_Section):
    name: str = Field(min_length=1, max_length=48)
    category: _CodeFile
    type: _CodeFile
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]

    def rgb(self) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red, green, blue


class _MatchFile(_Section):
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


class _TaskFile(_Section):
    title: str = Field(min_length=1)
    answer_undrawn: bool = True
    match: _MatchFile
    labels: tuple[_LabelFile, ...] = Field(min_length=1, max_length=254)


def load_settings(path: Path) -> Settings:
    """Settings of a TOML file; relative paths in it are relative to its folder.

    Raises:
        ConfigurationError: names the file, the key and the remedy.
    """
    settings = _validated(Settings, path)
    base = path.resolve().parent

    def placed(value: Path | None) -> Path | None:
        return None if value is None else base / value

    return settings.model_copy(
        update={
            "node": settings.node.model_copy(update={"data": placed(settings.node.data)}),
            "pacs": settings.pacs.model_copy(update={"password_file": placed(settings.pacs.password_file)}),
            "api": settings.api.model_copy(update={"token_file": placed(settings.api.token_file)}),
            "tasks": settings.tasks.model_copy(update={"folder": placed(settings.tasks.folder)}),
        }
    )


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
    file = _validated(_TaskFile, path)
    labels = tuple(
        Label(number, label.name, label.category.code(), label.type.code(), label.rgb())
        for number, label in enumerate(file.labels, start=1)
    )
    rule = MatchingRule(**file.match.model_dump())
    try:
        return Task(path.stem, file.title, labels, rule, file.answer_undrawn)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}; rename the file") from None


def read_secret(path: Path | None) -> str:
    """The first line of a file, or an empty string without one.

    Raises:
        ConfigurationError: if it cannot be read or is empty.
    """
    if path is None:
        return ""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); check the path and its rights") from None
    if not secret:
        raise ConfigurationError(f"{path} is empty; write the secret into it as its only line")
    return secret


def _validated(model: type[_Model], path: Path) -> _Model:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); check the path and its rights") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {_worded(e)}" for e in error.errors())
        raise ConfigurationError(f"{path}: {faults}. docs/configuration.md lists every key") from None


def _worded(fault: Any) -> str:
    return "unknown key" if fault["type"] == "extra_forbidden" else str(fault["msg"]).removeprefix("Value error, ")
