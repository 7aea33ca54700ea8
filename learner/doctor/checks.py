"""All checks, in the order in which they are reported."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from dicom_io.errors import DicomIoError
from learner.doctor import archive, content, dimse, hardware, machine, node, orthanc, plugin, store, viewer
from learner.doctor.findings import Finding, Findings, Found, Level, error, ok
from learner.doctor.site import Site
from learner.domain.task import Task
from learner.errors import ApprenticeError, ConfigurationError
from learner.settings import Settings, load_settings
from learner.task_files import load_tasks

_SETTINGS, _TASKS = "settings", "tasks"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: what its findings are called; never changed once released.
        about: what it looks at, in one line.
        run: finds.
        needs: checks without whose success this one cannot say anything; where one of them found an error, it is left out.
        is_slow: whether it takes more than a second or so, so that a quick look leaves it out.
        writes: whether it stores something in the archive, so that it runs only when it is asked to.
    """

    name: str
    about: str
    run: Callable[[Site], Findings]
    needs: tuple[str, ...] = ()
    is_slow: bool = False
    writes: bool = False


def _said(_site: Site) -> Findings:
    """Settings and tasks are looked at before there is a site."""
    yield from ()


def _round_trip(site: Site) -> Findings:
    from learner.doctor import round_trip  # noqa: PLC0415 - loads what writes segmentations

    return round_trip.segmentation(site)


CHECKS: tuple[Check, ...] = (
    Check(_SETTINGS, "the settings file is there, and every key of it is known and sound", _said),
    Check(_TASKS, "there are tasks, and their files are sound", _said),
    Check("data-folder", "the node may write its data folder, alone, and on a disk of this machine", machine.data_folder),
    Check("disk", "there is room on its disk", machine.disk),
    Check("secrets", "files with secrets can be read, and by nobody else", machine.secrets),
    Check("certificates", "certificates are valid, and for a while longer", machine.certificates),
    Check("limits", "enough files may be open", machine.limits),
    Check("store", "the node's database is whole, and of this version", store.database),
    Check("encryption", "the keys are there that files are encrypted with, and no file is in the clear", store.encryption),
    Check("lock", "one node at most works on the data folder", store.lock),
    Check("checkpoints", "the networks that serve are on disk as they were written", store.checkpoints, ("store",)),
    Check("archive", "the archive answers, lets the node in, and is new enough", archive.reachable),
    Check("rights", "the archive lets the node do what it needs, and nobody without a password", archive.rights, ("archive",)),
    Check("clock", "the archive keeps the same time", archive.clock, ("archive",)),
    Check("dicomweb", "the archive's DICOMweb service answers", archive.dicomweb, ("archive",)),
    Check("stable-age", "Orthanc waits neither too short nor too long for a series", orthanc.stable_age, ("archive",)),
    Check("orthanc-settings", "Orthanc's other settings suit", orthanc.settings, ("archive",)),
    Check("python-plugin", "Orthanc has its Python plugin", orthanc.python_plugin, ("archive",)),
    Check("plugin", "our plugin is loaded, and a nudge of it reaches this node", plugin.nudges, ("archive",)),
    Check("dimse", "the archive's DIMSE services answer", dimse.echoes),
    Check("labelmap", "Orthanc takes label maps by C-STORE", dimse.label_maps, ("archive",)),
    Check("scp", "the node's own DICOM service answers", dimse.own_service),
    Check(
        "round-trip",
        "a segmentation is stored, read back unchanged, and deleted",
        _round_trip,
        ("archive",),
        writes=True,
    ),
    Check("node", "the node runs, and reads the archive", node.runs),
    Check("trainer", "its trainer runs", node.trainer, ("node",)),
    Check("jobs", "no job was given up", store.jobs, ("store",)),
    Check("viewer", "the viewer's files are there", viewer.files),
    Check("viewer-configuration", "the viewer reads and stores by this node", viewer.configuration),
    Check("viewer-route", "the viewer's way to the archive is open", viewer.route, ("viewer", "node", "archive")),
    Check("matching", "every task matches series of the archive", content.matching, ("archive", _TASKS), is_slow=True),
    Check("annotations", "no annotation is ignored", content.ignored, ("store",), is_slow=True),
    Check("hardware", "PyTorch works, with the GPU where there is one", hardware.pytorch, is_slow=True),
)
"""All checks, in the order in which they are reported."""


def examine(
    configuration: Path,
    *,
    only: Collection[str] = (),
    quick: bool = False,
    write: bool = False,
    begins: Callable[[Check], None] = lambda _: None,
) -> Iterator[Finding]:
    """All findings, each as soon as it is known.

    Args:
        configuration: the settings file.
        only: names of checks; what they need is run for itself, and told where it failed. All if empty.
        quick: leave out what takes long.
        write: store a small study in the archive, read it, and delete it.
        begins: told each check before it is run.

    Raises:
        ConfigurationError: there is no check of a name in ``only``.
    """
    wanted = _wanted(only)
    settings, found = _settings(configuration)
    if settings is None or _SETTINGS in wanted:
        yield found
    if settings is None:
        return
    tasks, found = _tasks(settings)
    if _TASKS in wanted:
        yield found
    failed = {_TASKS} if found.level is Level.ERROR else set()
    site = Site(settings, tasks, quick)
    needed = {name for check in CHECKS if check.name in wanted for name in check.needs}
    for check in CHECKS[2:]:
        if check.name not in wanted | needed or failed & set(check.needs):
            continue
        if (check.is_slow and quick and not only) or (check.writes and not write):
            continue
        begins(check)
        findings = [Finding(check.name, one.level, one.what, one.remedy) for one in _run(check, site)]
        bad = any(finding.level is Level.ERROR for finding in findings)
        failed |= {check.name} if bad else set()
        yield from findings if bad or check.name in wanted else ()


def _wanted(only: Collection[str]) -> set[str]:
    names = {check.name for check in CHECKS}
    if unknown := sorted(set(only) - names):
        raise ConfigurationError(f"there is no check {unknown[0]!r}; there are {', '.join(check.name for check in CHECKS)}")
    return set(only) or names


def _run(check: Check, site: Site) -> Iterator[Found]:
    """A check's findings. What keeps it from looking is a finding, too."""
    try:
        yield from check.run(site)
    except (httpx2.RequestError, httpx2.InvalidURL) as fault:
        what = f"it could not be looked at: no answer ({type(fault).__name__})"
        yield error(what, "Look at the log of what should have answered, and run the check again.")
    except DicomIoError as fault:
        yield error(str(fault), "Correct section pacs of the settings, or the archive.")
    except ApprenticeError as fault:
        yield error(str(fault), "Correct the settings, or the file that is named.")
    except (OSError, sqlite3.Error) as fault:
        yield error(f"it could not be looked at ({fault})", "Check the rights of the file and the disk.")


def _settings(configuration: Path) -> tuple[Settings | None, Finding]:
    try:
        settings = load_settings(configuration)
    except ConfigurationError as fault:
        return None, Finding(_SETTINGS, Level.ERROR, str(fault), "Correct the settings file.")
    return settings, Finding(_SETTINGS, Level.OK, f"{configuration} is understood")


def _tasks(settings: Settings) -> tuple[tuple[Task, ...], Finding]:
    try:
        tasks = tuple(load_tasks(settings.tasks.folder))
    except ConfigurationError as fault:
        return (), Finding(_TASKS, Level.ERROR, str(fault), "Correct the task file.")
    if tasks:
        found = ok(", ".join(task.task_id for task in tasks))
    elif settings.tasks.from_annotations:
        found = ok("none yet; annotations make them")
    else:
        found = error("there is no task", "`apprentice new-task NAME` writes one; or set tasks.from_annotations.")
    return tasks, Finding(_TASKS, found.level, found.what, found.remedy)
