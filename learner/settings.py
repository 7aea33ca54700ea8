"""Settings of a node: one TOML file and a folder of task files beside it. Unknown keys are refused with their path."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from learner.domain.viewer_link import OWN_VIEWER
from learner.errors import ConfigurationError
from learner.settings_access import AccessSettings, ApiSettings, OidcSettings, Port, Section, is_loopback
from learner.toml_models import validated

AeTitle = Annotated[str, Field(min_length=1, max_length=16)]


class NodeSettings(Section):
    """What this node is called and where it keeps what it knows."""

    data: Path = Field(Path("var/apprentice"), description="Folder of store, checkpoints and replay memory.")
    min_free_mb: int = Field(
        1024, ge=0, description="Free space on the disk of `data`, in MiB, below which nothing is learned; answers go on."
    )
    archive_first_s: float = Field(
        20.0,
        ge=0,
        le=600,
        description="Seconds that answers and learning wait at a stretch while images pour into the archive, on a machine "
        "without a core to spare; 0: they never wait.",
    )
    encryption_key_file: Path | None = Field(
        None, description="Keys (as age-keygen writes them) that images, drawings and networks are encrypted with on disk."
    )
    log_format: Literal["json", "text"] = Field("json", description="Form of the log.")
    log_file: Path | None = Field(
        None, description="File of the log; standard error without. It may be renamed at any time, as logrotate does."
    )


class PacsSettings(Section):
    """The archive: where images and drawings are read, and where results go."""

    kind: Literal["orthanc", "dicomweb", "dimse", "inbox"] = Field(
        "orthanc",
        description="Where things are read: Orthanc's REST API, any PACS by one of these, or what is sent to `[scp]`.",
    )
    store_by: Literal["rest", "dicomweb", "dimse"] = Field(
        "rest", description="How results are stored; `rest` is Orthanc's REST API, for `kind` orthanc alone."
    )
    url: str = Field("http://127.0.0.1:8042", description="Base address of Orthanc's REST API, or of a DICOMweb service.")
    dicomweb_root: str = Field("/dicom-web/", description="Path of the DICOMweb API below `url`.")
    user: str = Field("", description="User for `url`; empty for none.")
    password_file: Path | None = Field(None, description="File that holds the user's password.")
    token_file: Path | None = Field(None, description="File that holds a bearer token for `url`, used without a user.")
    dimse_host: str = Field("127.0.0.1", description="Host of the archive's DIMSE services.")
    dimse_port: Port = Field(4242, description="Port of the archive's DIMSE services.")
    dimse_tls: bool = Field(False, description="Whether the archive's DIMSE services are reached by TLS.")
    called_aet: AeTitle = Field("ORTHANC", description="The archive's AE title.")
    calling_aet: AeTitle = Field("APPRENTICE", description="This node's AE title, that of `[scp]` included.")
    retrieve_by: Literal["get", "move"] = Field("get", description="With `kind` dimse: by C-GET, or by C-MOVE to `[scp]`.")
    tls_ca_file: Path | None = Field(
        None, description="Certificates that may sign the archive's (PEM); the system's if left out."
    )
    tls_certificate_file: Path | None = Field(None, description="This node's certificate (PEM), shown to the archive.")
    tls_key_file: Path | None = Field(None, description="Its private key, if it stands in a file of its own.")
    tls_check_hostname: bool = Field(True, description="Whether the archive's certificate must name its host.")
    poll_s: float = Field(2.0, gt=0, description="Longest time between two looks at the log, in seconds, without a nudge.")
    poll_days: int = Field(
        30, ge=0, description="Without a log: how old the studies may be that are looked at, in days; 0 for all."
    )
    stable_age_s: float = Field(
        10.0, gt=0, description="Seconds without a change that make a series complete; Orthanc has its own."
    )
    reconcile_s: float = Field(300.0, gt=0, description="Time between two reconciliation scans, in seconds.")
    timeout_s: float = Field(30.0, gt=0, description="Longest wait for an answer of the archive, in seconds.")

    @model_validator(mode="after")
    def _rest_is_orthanc(self) -> Self:
        if self.store_by == "rest" and self.kind != "orthanc":
            raise ValueError(f"kind {self.kind} needs store_by dicomweb or dimse")
        return self


class ScpSettings(Section):
    """The node's own DICOM service. It runs with `pacs.kind` inbox, and with `pacs.retrieve_by` move."""

    host: str = Field("127.0.0.1", description="Address to listen on; anything but loopback needs `allowed_aets`.")
    port: Port = Field(11112, description="Port to listen on.")
    allowed_aets: tuple[AeTitle, ...] = Field((), description="AE titles that may connect; empty for all.")
    tls: bool = Field(False, description="Whether senders must use TLS; needs `tls_certificate_file`.")
    tls_certificate_file: Path | None = Field(None, description="The service's certificate (PEM).")
    tls_key_file: Path | None = Field(None, description="Its private key, if it stands in a file of its own.")
    tls_ca_file: Path | None = Field(
        None, description="Certificates that must have signed the sender's (PEM); no check without."
    )
    associations: int = Field(10, ge=1, description="Associations at the same time.")
    max_object_mb: int = Field(2048, ge=1, description="Largest object, in MiB.")
    spool_mb: int = Field(51200, ge=1, description="Size of what was received, in MiB; images not used for longest go first.")
    commitment: bool = Field(False, description="Whether storage commitment is answered; the spool is no archive.")
    commitment_peers: tuple[Annotated[str, Field(max_length=300)], ...] = Field(
        (), description="Who gets commitment reports on an association of their own, each `AET@host:port`."
    )

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if not is_loopback(self.host) and not self.allowed_aets:
            raise ValueError("an address beyond loopback needs allowed_aets")
        if self.tls and self.tls_certificate_file is None:
            raise ValueError("tls needs tls_certificate_file")
        self.commitment_addresses()
        return self

    def commitment_addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port by AE title.

        Raises:
            ValueError: an entry of ``commitment_peers`` is none.
        """
        found = {}
        for peer in self.commitment_peers:
            parts = re.fullmatch(r"([^@]{1,16})@(.+):(\d{1,5})", peer)
            if parts is None:
                raise ValueError(f"commitment_peers: {peer!r} is no AET@host:port")
            found[parts[1]] = (parts[2], int(parts[3]))
        return found


class ViewerSettings(Section):
    """OHIF, served by the node on one origin with the archive's DICOMweb."""

    folder: Path | None = Field(None, description="Folder of OHIF's built files (`./run viewer` gets it); empty for no viewer.")
    configuration: Path | None = Field(None, description="OHIF's configuration instead of the node's own, `config/ohif.js`.")
    largest_upload_mb: int = Field(512, ge=1, description="Most that the viewer may store at once, in MiB.")


class TasksSettings(Section):
    """What is segmented."""

    folder: Path = Field(Path("tasks"), description="Folder of task files, one TOML file a task.")
    from_annotations: bool = Field(False, description="Whether an annotation that no task matches makes a task of its own.")


class ContractSettings(Section):
    """The annotation contract: words by which readers say more than a drawing can (whole words, upper and lower case alike)."""

    reviewed: tuple[str, ...] = Field(
        ("reviewed", "confirmed"), description="Name of a segment that marks slices on which the prediction is accepted."
    )
    complete: tuple[str, ...] = Field(
        ("complete",), description="Word in the description of an object, or name of a segment, that declares it complete."
    )
    strokes: tuple[str, ...] = Field(
        ("strokes", "stroke", "scribbles", "scribble"), description="Word that makes only the drawn voxels known, no slices."
    )
    background: tuple[str, ...] = Field(("background",), description="Name of a segment of strokes where no label is.")
    report_refusals: bool = Field(True, description="Whether a report in the study says why an annotation was not understood.")


class AnswerSettings(Section):
    """How triggers are answered."""

    propagator: str = Field(
        "chained-flow", description="Name of the propagation method; a task may name another (`docs/method.md` lists them)."
    )
    guidance: str = Field(
        "expected-gain", description="Name of the rule that says which slices to draw next (`docs/method.md` lists them)."
    )
    from_prior_study: bool = Field(
        True, description="Whether what was drawn on another study of the same patient is carried to a new one."
    )
    keep_superseded: bool = Field(False, description="Whether results of earlier rounds stay in the archive.")
    results: tuple[
        Literal["residual-bands", "residual-map", "residual-fractional", "key-objects", "report", "contours", "captures"],
        ...,
    ] = Field(
        ("residual-bands", "residual-map", "key-objects", "report"),
        description="Objects that an answer consists of besides the prediction; `docs/results-objects.md` describes them.",
    )
    report_class: Literal["comprehensive", "comprehensive-3d"] = Field(
        "comprehensive",
        description="SR class of the report: Comprehensive (88.33; Stone shows no other) or Comprehensive 3D (88.34).",
    )
    threads: int = Field(2, ge=1, description="CPU threads of the answering process.")
    image_cache_mb: int = Field(512, ge=0, description="Voxels of recent series kept in memory, in MiB.")
    attempts: int = Field(5, ge=1, description="How often an unexpected failure is tried before the job is parked.")
    undrawn_queue: int = Field(
        1000,
        ge=1,
        description="How many new series wait for their first answer at a time; the archive keeps others until then.",
    )


class LearningSettings(Section):
    """How the node learns."""

    steps: int = Field(20, ge=1, description="Training steps a learn job.")
    idle_steps: int = Field(
        40,
        ge=0,
        description="Steps more at most, on what is remembered, as long as no other drawing waits.",
    )
    threads: int = Field(2, ge=1, description="CPU threads of the trainer.")
    seed: int = Field(1, ge=0, description="Seed of weights and sampling.")
    confirmed_weight: float = Field(
        0.5, ge=0, le=1, description="Weight of slices that a reader accepted, as a share of that of drawn ones."
    )
    replay_mb: int = Field(4096, ge=1, description="Size of the replay memory of a model on disk, in MiB.")
    keep_checkpoints: int = Field(
        5, ge=2, description="How many of the newest versions of a model stay on disk, besides those that are needed."
    )
    gate_cases: int = Field(
        8, ge=0, description="Most drawn cases of a task held back from training, to judge versions by; 0 for none."
    )
    gate_every: int = Field(6, ge=2, description="How many cases there are to each that is held back.")
    on_pacs_delete: Literal["keep", "purge"] = Field(
        "keep",
        description="What becomes of what was learned from a study whose images are gone from the archive: it stays, or is "
        "forgotten as `apprentice forget` does. For archives that delete only what is to be forgotten.",
    )


class RetentionSettings(Section):
    """How long records are kept, in days; 0 for as long as the node. `docs/operations.md` says what is lost."""

    superseded_days: int = Field(
        0, ge=0, description="Pictures and probabilities of rounds that a later one of their case replaced."
    )
    rounds_days: int = Field(0, ge=0, description="Records of cases on which nothing happened since.")
    held_days: int = Field(0, ge=0, description="Drawings that are held back from training to judge versions by.")


class Settings(Section):
    """All settings of a node."""

    node: NodeSettings = NodeSettings()
    pacs: PacsSettings = PacsSettings()
    scp: ScpSettings = ScpSettings()
    api: ApiSettings = ApiSettings()
    access: AccessSettings = AccessSettings()
    oidc: OidcSettings = OidcSettings()
    viewer: ViewerSettings = ViewerSettings()
    tasks: TasksSettings = TasksSettings()
    contract: ContractSettings = ContractSettings()
    answer: AnswerSettings = AnswerSettings()
    learning: LearningSettings = LearningSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _purges_by_an_archive(self) -> Self:
        if self.learning.on_pacs_delete == "purge" and self.pacs.kind == "inbox":
            raise ValueError("learning.on_pacs_delete: an inbox deletes to make room; use `keep`")
        return self

    def in_force(self) -> dict[str, object]:
        """What answers and learning depend on, for the audit record: no address, no path, no secret."""
        told = {"contract", "answer", "learning"}
        return {**self.model_dump(mode="json", include=told), "tasks": {"from_annotations": self.tasks.from_annotations}}

    @model_validator(mode="after")
    def _readers_come_back(self) -> Self:
        if self.oidc.issuer and not self.api.public_url:
            raise ValueError("oidc.issuer needs api.public_url, the address to which the issuer sends people back")
        return self

    @property
    def viewer_url(self) -> str:
        """Template for :func:`learner.domain.viewer_link.viewer_link`: the configured one, else the node's own, else empty."""
        return self.api.viewer_url or (OWN_VIEWER if self.viewer.folder is not None else "")

    @property
    def absolute_viewer_url(self) -> str:
        """The same for readers of objects in the archive, who are on no page of this node."""
        if not self.viewer_url.startswith("/"):
            return self.viewer_url
        return (self.api.public_url.rstrip("/") or self.api.address) + self.viewer_url


def load_settings(path: Path) -> Settings:
    """Settings of a TOML file; relative paths in it are relative to its folder.

    A file that systemd passes as a credential of the file's name (systemd.exec, ``LoadCredential=``) is read from there.

    Raises:
        ConfigurationError: names the file, the key and the remedy.
    """
    settings = validated(Settings, path)
    base = path.resolve().parent
    return settings.model_copy(update={name: _placed(section, base) for name, section in settings})


def _placed(section: BaseModel, base: Path) -> BaseModel:
    """A section with its relative paths below ``base``, and credentials where systemd keeps them."""
    return section.model_copy(update={name: _found(value, base) for name, value in section if isinstance(value, Path)})


def _found(path: Path, base: Path) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (passed := Path(folder, path.name)).is_file():
        return passed
    return base / path


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
