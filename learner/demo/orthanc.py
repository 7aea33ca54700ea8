"""A real Orthanc as an ordinary child process on loopback ports; nothing of the machine's own Orthanc is touched.

``config/orthanc.json`` is the template; what belongs to this one process (folders, ports, users, plugin) is set over it.
The child dies with its parent: ``setpriv --pdeathsig`` asks the kernel for that, so that neither Ctrl-C nor SIGKILL of the
parent leaves an orphan. The kernel ties the child to the *thread* that started it, so start it from one that lives on.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from learner.errors import ApprenticeError

TEMPLATE = Path(__file__).resolve().parents[2] / "config" / "orthanc.json"
PLUGIN_SCRIPT = TEMPLATE.parents[1] / "orthanc_plugin" / "main.py"
PLUGINS_FOLDER = "/usr/share/orthanc/plugins"
APT_PACKAGES = "orthanc orthanc-python orthanc-dicomweb"
_PYTHON_PLUGIN = "libOrthancPython.so"
_DICOMWEB_PLUGIN = "libOrthancDicomWeb.so"
_SHOWN_LOG_LINES = 12
_POLL_S = 0.05


class OrthancNotStarted(ApprenticeError):
    """Orthanc is not installed, or ended or stayed silent while starting; the message has the remedy."""


@dataclass(frozen=True)
class PluginOptions:
    """The plugin of ``orthanc_plugin/`` and its section "Apprentice" of Orthanc's configuration.

    Attributes:
        learner_url: base address of the learner's API.
        page_url: the learner's web page as the reader's browser reaches it, empty for no link.
        token_file: file that holds the bearer token, or None for none.
        script: what ``PythonScript`` names.
        more: further options, by their name in the section.
    """

    learner_url: str
    page_url: str = ""
    token_file: Path | None = None
    script: Path = PLUGIN_SCRIPT
    more: Mapping[str, object] = field(default_factory=dict)

    def section(self) -> dict[str, object]:
        """The section as it stands in the configuration."""
        section: dict[str, object] = {"LearnerUrl": self.learner_url, "PageUrl": self.page_url}
        if self.token_file is not None:
            section["TokenFile"] = str(self.token_file)
        return section | dict(self.more)


class LocalOrthanc:
    """One Orthanc with its own folder, ports and users. Stopped or killed, it starts again on the same ports and data.

    Args:
        folder: where configuration, log, index and images go; made if absent.
        http_port: port of the REST and DICOMweb interface, None for a free one.
        dicom_port: port of the DICOM interface, None for a free one.
        credentials: user to password; empty for no authentication.
        stable_age: seconds without a new instance after which a series is stable.
        plugin: the plugin to load, or None for an Orthanc without it; may be set anew before a start.
        binary: path of Orthanc's program (inside ``chroot``, where that is given).
        aet: its DICOM application entity title.
        settings: further settings of Orthanc, over all others.
        template: the configuration to start from.
        chroot: root of another system whose Orthanc is to run (needs root); ``folder`` must lie inside it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        http_port: int | None = None,
        dicom_port: int | None = None,
        credentials: Mapping[str, str] | None = None,
        stable_age: int = 1,
        plugin: PluginOptions | None = None,
        binary: str = "/usr/sbin/Orthanc",
        aet: str = "ORTHANC",
        settings: Mapping[str, object] | None = None,
        template: Path = TEMPLATE,
        chroot: Path | None = None,
    ) -> None:
        free = _free_ports(2)
        self.folder = folder.resolve()
        self.http_port = free[0] if http_port is None else http_port
        self.dicom_port = free[1] if dicom_port is None else dicom_port
        self.credentials = dict(credentials or {})
        self.aet = aet
        self._stable_age = stable_age
        self.plugin = plugin
        self._binary = binary
        self._settings = dict(settings or {})
        self._template = template
        self._chroot = None if chroot is None else chroot.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        """Base address of the REST interface, without a slash at the end."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicom_address(self) -> tuple[str, int]:
        """Host and port of the DICOM interface."""
        return "127.0.0.1", self.dicom_port

    @property
    def log_path(self) -> Path:
        """The log of all its starts."""
        return self.folder / "orthanc.log"

    @property
    def pid(self) -> int | None:
        """Process number, None while it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self, timeout: float = 60.0) -> None:
        """Starts it and returns once it answers.

        Raises:
            OrthancNotStarted: it is not installed, it ended, or it did not answer within ``timeout`` seconds.
        """
        if self.pid is not None:
            return
        self._check_installed()
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.configuration(), file, indent=2)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the program is Orthanc
                self._command(configuration),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which stops its children in order
                env=os.environ | {"TCP_NODELAY": "1"},  # else every C-STORE waits 40 ms for an acknowledgement
            )
        try:
            self._wait_until_up(self._process, time.monotonic() + timeout)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 30.0) -> None:
        """Asks it to end (SIGTERM) and waits; kills it after ``timeout`` seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a power cut would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def configuration(self) -> dict[str, object]:
        """The whole configuration as it is written for Orthanc."""
        configuration: dict[str, object] = json.loads(self._template.read_text("utf-8"))
        storage = self.path_inside(self.folder / "storage")
        plugins = [f"{PLUGINS_FOLDER}/{_DICOMWEB_PLUGIN}"]
        configuration |= {"StorageDirectory": storage, "IndexDirectory": storage, "StableAge": self._stable_age}
        configuration |= {"HttpPort": self.http_port, "DicomPort": self.dicom_port, "DicomAet": self.aet}
        configuration |= {"AuthenticationEnabled": bool(self.credentials), "RegisteredUsers": self.credentials}
        del configuration["PythonScript"], configuration["Apprentice"]
        if self.plugin is not None:
            plugins.append(f"{PLUGINS_FOLDER}/{_PYTHON_PLUGIN}")
            configuration |= {"PythonScript": self._script(self.plugin), "Apprentice": self.plugin.section()}
        return configuration | {"Plugins": plugins} | self._settings

    def _command(self, configuration: Path) -> list[str]:
        command = ["setpriv", "--pdeathsig", "TERM", "--"]
        if self._chroot is not None:
            command += ["chroot", str(self._chroot)]
        return [*command, self._binary, self.path_inside(configuration)]

    def path_inside(self, path: Path) -> str:
        """A path of ours as this Orthanc sees it: the same, but where it lives in a chroot."""
        if self._chroot is None:
            return str(path)
        return f"/{path.relative_to(self._chroot)}"

    def _script(self, plugin: PluginOptions) -> str:
        """The plugin's script as Orthanc reaches it: copied, unchanged, into the folder where Orthanc lives in a chroot."""
        if self._chroot is None:
            return str(plugin.script.resolve())
        copied = self.folder / plugin.script.parent.name
        shutil.copytree(plugin.script.parent, copied, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return self.path_inside(copied / plugin.script.name)

    def _check_installed(self) -> None:
        root = self._chroot or Path("/")
        needed = [self._binary, f"{PLUGINS_FOLDER}/{_DICOMWEB_PLUGIN}", f"{PLUGINS_FOLDER}/{_PYTHON_PLUGIN}"]
        missing = [name for name in needed if not (root / name.lstrip("/")).exists()]
        if missing or shutil.which("setpriv") is None:
            what = ", ".join(missing) or "setpriv (package util-linux)"
            raise OrthancNotStarted(f"{what}: not there. Install it: apt-get install --no-install-recommends {APT_PACKAGES}.")

    def _wait_until_up(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        auth = next(iter(self.credentials.items()), None)
        with httpx2.Client(auth=auth, timeout=2.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise OrthancNotStarted(f"Orthanc ended while starting (status {process.returncode}).\n{self._log_tail()}")
                try:
                    if client.get(f"{self.url}/system").status_code == httpx2.codes.OK and process.poll() is None:
                        return
                except httpx2.TransportError:
                    pass  # not listening yet
                time.sleep(_POLL_S)
        raise OrthancNotStarted(f"Orthanc did not answer on port {self.http_port} in time.\n{self._log_tail()}")

    def _log_tail(self) -> str:
        """The last lines of this start. Nothing has been received yet, so there is nothing of a patient in them."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", "replace").splitlines()
        return "\n".join([f"The end of {self.log_path}:", *lines[-_SHOWN_LOG_LINES:]])


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
