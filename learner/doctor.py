"""``apprentice doctor``: looks at everything that a node needs, and says what to do about what is wrong. Changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2

from dicom_io.errors import PacsError
from learner.app.intake import ANNOTATION_MODALITIES
from learner.domain.job import JobState
from learner.domain.task import Task
from learner.errors import ApprenticeError, ConfigurationError
from learner.settings import Settings, load_settings, load_tasks, read_secret
from learner.storage.store import LocalStore
from learner.wiring import build_archive

_TIMEOUT_S = 5.0
_SCANNED = 5000
_GIB = 2**30
_LEAST_FREE_GIB = 2.0
_LARGEST_SKEW_S = 30.0
_OLDEST_ORTHANC = (1, 9, 4)
_NVIDIA = Path("/proc/driver/nvidia/version")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: of the check.
        level: how bad it is.
        what: what is so.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    level: Level
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What the checks look at.

    Attributes:
        settings: of the node.
        tasks: what it segments; empty where they cannot be read.
    """

    settings: Settings
    tasks: tuple[Task, ...]

    def orthanc(self) -> httpx2.Client:
        """A client of the archive's REST API.

        Raises:
            ConfigurationError: its password cannot be read.
        """
        pacs = self.settings.pacs
        auth = (pacs.user, read_secret(pacs.password_file)) if pacs.user else None
        return httpx2.Client(base_url=pacs.url.rstrip("/"), auth=auth, timeout=_TIMEOUT_S, trust_env=False)


Check = Callable[[Site], Iterator[Finding]]


def examine(configuration: Path) -> Iterator[Finding]:
    """All findings, each as soon as it is known.

    Args:
        configuration: the settings file.
    """
    try:
        settings = load_settings(configuration)
    except ConfigurationError as error:
        yield Finding("settings", Level.ERROR, str(error), "Correct the settings file.")
        return
    yield Finding("settings", Level.OK, f"{configuration} is understood")
    tasks: tuple[Task, ...] = ()
    try:
        tasks = tuple(load_tasks(settings.tasks.folder))
    except ConfigurationError as error:
        yield Finding("tasks", Level.ERROR, str(error), "Correct the task file.")
    else:
        yield _tasks(tasks, made=settings.tasks.from_annotations)
    site = Site(settings, tasks)
    for check in CHECKS:
        yield from check(site)


def _tasks(tasks: tuple[Task, ...], *, made: bool) -> Finding:
    if tasks:
        return Finding("tasks", Level.OK, ", ".join(task.task_id for task in tasks))
    if made:
        return Finding("tasks", Level.OK, "none yet; annotations make them")
    remedy = "Write a task file into tasks.folder, or set tasks.from_annotations."
    return Finding("tasks", Level.ERROR, "there is no task", remedy)


def data_folder(site: Site) -> Iterator[Finding]:
    """The data folder can be written and has room."""
    folder = site.settings.node.data.resolve()
    present = next(path for path in (folder, *folder.parents) if path.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        yield Finding("data folder", Level.ERROR, f"{present} cannot be written", "Give this user the right, or set node.data.")
        return
    free = shutil.disk_usage(present).free / _GIB
    wanted = _LEAST_FREE_GIB + site.settings.learning.replay_mb / 1024 * max(len(site.tasks), 1)
    if free < _LEAST_FREE_GIB:
        yield Finding(
            "data folder", Level.ERROR, f"{free:.1f} GiB are free", "Free some space, or set node.data to another disk."
        )
    elif free < wanted:
        what = f"{free:.1f} GiB are free; full replay memories want {wanted:.1f}"
        yield Finding("data folder", Level.WARNING, what, "Free some space, or lower learning.replay_mb.")
    else:
        yield Finding("data folder", Level.OK, f"{folder}, {free:.1f} GiB free")


def secrets(site: Site) -> Iterator[Finding]:
    """Files with secrets can be read, and by nobody else."""
    settings = site.settings
    files = {
        "token file": settings.api.token_file,
        "password file": settings.pacs.password_file,
        "archive's token file": settings.pacs.token_file,
        "key file": settings.pacs.tls_key_file,
        "SCP's key file": settings.scp.tls_key_file,
    }
    for name, path in files.items():
        if path is None:
            continue
        try:
            read_secret(path)
        except ConfigurationError as error:
            yield Finding(name, Level.ERROR, str(error), "Write the secret into it, readable by the node's user.")
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Finding(name, Level.WARNING, f"others may read or write {path} (mode {mode:o})", f"chmod 600 {path}")
        else:
            yield Finding(name, Level.OK, f"{path} is this user's alone")
    if site.settings.api.token_file is None:
        yield Finding("token file", Level.OK, "none: everybody on this machine may use the API")


def archive(site: Site) -> Iterator[Finding]:
    """The archive answers; an Orthanc is new enough, keeps the same time and has the plugins."""
    if site.settings.pacs.kind != "orthanc":
        yield _other_archive(site.settings)
        return
    try:
        with site.orthanc() as client:
            answer = client.get("/system")
            if not answer.is_success:
                yield _refused(answer.status_code)
                return
            system = _object(answer)
            yield _version(str(system.get("Version", "")))
            if isinstance(system.get("StableAge"), int):
                yield _stable_age(system["StableAge"])
            yield from _clock(client)
            yield from _plugins(client, site)
            yield from _our_plugin(client)
    except ConfigurationError as error:
        yield Finding("archive", Level.ERROR, str(error), "Correct pacs.password_file.")
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        what = f"{site.settings.pacs.url} does not answer ({type(error).__name__})"
        yield Finding("archive", Level.ERROR, what, "Start Orthanc, or correct pacs.url.")


def _other_archive(settings: Settings) -> Finding:
    """An archive that is no Orthanc is asked for what a node would ask it first."""
    if settings.pacs.kind == "inbox":
        return Finding("archive", Level.OK, f"what is sent to {settings.pacs.calling_aet} at port {settings.scp.port}")
    try:
        with closing(build_archive(settings.pacs)) as asked:
            asked.series_of("1.2.3")
    except (PacsError, ConfigurationError) as error:
        return Finding("archive", Level.ERROR, str(error), "Correct section pacs of the settings.")
    return Finding("archive", Level.OK, f"it answers queries by {settings.pacs.kind}")


def _refused(status: int) -> Finding:
    if status in (401, 403):
        return Finding("archive", Level.ERROR, f"it answered {status}", "Correct pacs.user and pacs.password_file.")
    return Finding("archive", Level.ERROR, f"it answered {status} to /system", "Check that pacs.url is Orthanc's REST API.")


def _version(version: str) -> Finding:
    if version == "mainline":
        return Finding("archive", Level.OK, "Orthanc, built from its mainline")
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    if not numbers:
        return Finding(
            "archive", Level.ERROR, "it does not name Orthanc's version", "Check that pacs.url is Orthanc's REST API."
        )
    if numbers < _OLDEST_ORTHANC:
        oldest = ".".join(map(str, _OLDEST_ORTHANC))
        return Finding("archive", Level.ERROR, f"Orthanc {version}", f"Update it to {oldest} or newer.")
    return Finding("archive", Level.OK, f"Orthanc {version}")


def _stable_age(seconds: int) -> Finding:
    if 2 <= seconds <= 60:
        return Finding("stable age", Level.OK, f"{seconds} s")
    what = f"{seconds} s: images are taken in too early, or late"
    return Finding("stable age", Level.WARNING, what, "Set StableAge in Orthanc's configuration to 5 to 30.")


def _clock(client: httpx2.Client) -> Iterator[Finding]:
    """Orthanc tells UTC to the second; slower than 30 s is a clock, not a network."""
    answer = client.get("/tools/now")
    try:
        theirs = datetime.strptime(answer.text.strip(), "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    if skew > _LARGEST_SKEW_S:
        yield Finding("clock", Level.WARNING, f"this machine and the archive differ by {skew:.0f} s", "Let both follow NTP.")
    else:
        yield Finding("clock", Level.OK, f"differs from the archive's by {skew:.0f} s")


def _plugins(client: httpx2.Client, site: Site) -> Iterator[Finding]:
    answer = client.get("/plugins")
    found = set(_strings(answer)) if answer.is_success else set()
    if "dicom-web" in found:
        yield Finding("DICOMweb plugin", Level.OK, "loaded")
    else:
        level = Level.ERROR if site.settings.pacs.store_by == "dicomweb" else Level.WARNING
        what = "not loaded: web viewers cannot read, pacs.store_by = dicomweb cannot store"
        yield Finding("DICOMweb plugin", level, what, "Install orthanc-dicomweb and name it in Orthanc's Plugins.")
    if "python" in found:
        yield Finding("Python plugin", Level.OK, "loaded")
    else:
        what = f"not loaded: the archive is looked at every {site.settings.pacs.poll_s:g} s only"
        yield Finding("Python plugin", Level.WARNING, what, "Install orthanc-python and name it in Orthanc's Plugins.")


def _our_plugin(client: httpx2.Client) -> Iterator[Finding]:
    name = "Apprentice plugin"
    answer = client.get("/apprentice/status")
    if not answer.is_success:
        remedy = "Set PythonScript to orthanc_plugin/main.py in Orthanc's configuration; its log says why it does not load."
        yield Finding(name, Level.WARNING, "not loaded: nothing nudges the node", remedy)
        return
    learner = _object(answer).get("learner")
    if isinstance(learner, dict) and learner.get("reachable") is True:
        yield Finding(name, Level.OK, "loaded, and it reaches the node")
        return
    problem = learner.get("problem", "") if isinstance(learner, dict) else ""
    remedy = "Start `apprentice serve`; check LearnerUrl and TokenFile in section Apprentice of Orthanc's configuration."
    yield Finding(name, Level.WARNING, f"loaded, but it does not reach the node: {problem}", remedy)


def node(site: Site) -> Iterator[Finding]:
    """The node runs, and gave nothing up."""
    api = site.settings.api
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)  # noqa: S104 - no address to listen on
    url = f"http://[{host}]:{api.port}" if ":" in host else f"http://{host}:{api.port}"
    try:
        token = read_secret(api.token_file)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx2.get(f"{url}/api/status", headers=headers, timeout=_TIMEOUT_S, trust_env=False)
    except ConfigurationError:
        return  # said of the token file already
    except httpx2.RequestError as error:
        yield Finding(
            "node", Level.WARNING, f"it does not answer at {url} ({type(error).__name__})", "Start `apprentice serve`."
        )
        return
    if answer.status_code == httpx2.codes.UNAUTHORIZED:
        yield Finding("node", Level.ERROR, "it runs with another token", "Restart it after a change of api.token_file.")
    elif not answer.is_success:
        yield Finding("node", Level.ERROR, f"{url} answered {answer.status_code}", "Look whether another service has the port.")
    else:
        yield from _node_parts(_object(answer))


def _node_parts(status: dict[str, Any]) -> Iterator[Finding]:
    parts = status.get("node")
    if not isinstance(parts, dict):
        yield Finding("node", Level.ERROR, "something else answers at its address", "Set api.port to a free one.")
        return
    yield Finding("node", Level.OK, f"version {status.get('version')} runs")
    if parts.get("archive_error"):
        yield Finding("node's archive", Level.ERROR, str(parts["archive_error"]), "See the findings on the archive.")
    if not parts.get("trainer_alive"):
        yield Finding("trainer", Level.ERROR, "it does not run: nothing is learned", "Look for `trainer` in the node's log.")
    elif parts.get("trainer_restarts"):
        what = f"it was started again {parts['trainer_restarts']} times"
        yield Finding("trainer", Level.WARNING, what, "Look for `trainer` in the node's log, and at the machine's memory.")


def parked(site: Site) -> Iterator[Finding]:
    """No job was given up."""
    folder = site.settings.node.data
    if not (folder / "apprentice.sqlite").exists():
        return
    try:
        store = LocalStore(folder)
        jobs = store.queries.jobs(JobState.PARKED)
        store.close()
    except (ApprenticeError, OSError, sqlite3.Error) as error:
        yield Finding("store", Level.ERROR, str(error), "Check the data folder's rights and its disk.")
        return
    if not jobs:
        yield Finding("jobs", Level.OK, "none was given up")
    for job in jobs[:10]:
        what = f"{job.kind} job of round {job.round_id} was given up: {job.reason}"
        yield Finding("jobs", Level.WARNING, what, f"Remove the cause, then `apprentice retry {job.round_id}`.")
    if len(jobs) > 10:
        yield Finding("jobs", Level.WARNING, f"{len(jobs)} jobs or more were given up", "See `apprentice rounds`.")


def matching(site: Site) -> Iterator[Finding]:
    """Every task matches a series of the archive. Looks at some thousand series at most."""
    pacs = site.settings.pacs.model_copy(update={"timeout_s": _TIMEOUT_S})
    if not site.tasks or pacs.kind != "orthanc":  # others are polled, which takes too long for a look
        return
    try:
        with closing(build_archive(pacs)) as orthanc:
            series = [one for one in islice(orthanc.scan(), _SCANNED) if one.modality not in ANNOTATION_MODALITIES]
    except (PacsError, ConfigurationError):
        return  # said of the archive already
    if not series:
        yield Finding("matching", Level.OK, "the archive holds no images yet")
        return
    for task in site.tasks:
        count = sum(task.match.matches(one) for one in series)
        if count:
            yield Finding("matching", Level.OK, f"task {task.task_id} matches {count} of {len(series)} image series")
        else:
            what = f"task {task.task_id} matches none of {len(series)} image series"
            yield Finding("matching", Level.WARNING, what, "Compare section match of its file with the series in the archive.")


def torch(_site: Site) -> Iterator[Finding]:
    """PyTorch works, with the GPU where there is one."""
    try:
        import torch as library  # noqa: PLC0415 - heavy
    except (ImportError, OSError) as error:
        yield Finding("PyTorch", Level.ERROR, f"it cannot be loaded ({error})", "Install the project's requirements again.")
        return
    if library.cuda.is_available():
        what = f"{library.__version__} with {library.cuda.get_device_name(0)}"
        yield Finding("PyTorch", Level.OK, what)
    elif _NVIDIA.exists():
        what = f"{library.__version__} does not use the GPU that this machine's driver offers"
        remedy = "Install a build of PyTorch for CUDA that the driver supports (`nvidia-smi` names the newest)."
        yield Finding("PyTorch", Level.WARNING, what, remedy)
    else:
        yield Finding("PyTorch", Level.OK, f"{library.__version__} on the CPU")


CHECKS: tuple[Check, ...] = (data_folder, secrets, archive, node, parked, matching, torch)
"""All checks after settings and tasks, in the order in which they are reported."""


def _object(answer: httpx2.Response) -> dict[str, Any]:
    """The answer's JSON object; empty if it is none."""
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _strings(answer: httpx2.Response) -> list[str]:
    try:
        content = answer.json()
    except ValueError:
        return []
    return [entry for entry in content if isinstance(entry, str)] if isinstance(content, list) else []
