"""What the checks look at, each asked for once."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2

from dicom_io.pacs.http_client import open_client
from learner.domain.task import Task
from learner.errors import ConfigurationError
from learner.settings import Settings, read_secret
from learner.storage.store import LocalStore
from learner.wiring.archive import http_access

TIMEOUT_S = 5.0
_TOLD_BY_ORTHANC = ("StableAge", "OverwriteInstances")


@dataclass(frozen=True)
class Site:
    """A node's settings, and what its archive and the node itself answer.

    Attributes:
        settings: of the node.
        tasks: what it segments; empty where they cannot be read.
        quick: whether what takes long is left out.
    """

    settings: Settings
    tasks: tuple[Task, ...] = ()
    quick: bool = False

    @property
    def is_orthanc(self) -> bool:
        """Whether the archive is an Orthanc that is read by its REST API."""
        return self.settings.pacs.kind == "orthanc"

    @contextmanager
    def archive(self) -> Iterator[httpx2.Client]:
        """A client of the archive's HTTP service, with the node's credentials; paths begin at ``pacs.url``.

        Raises:
            ConfigurationError: a secret or certificate cannot be read.
        """
        access = http_access(self.settings.pacs) | {"url": self.settings.pacs.url, "timeout": TIMEOUT_S}
        with closing(open_client(**access)) as client:
            yield client

    @cached_property
    def system(self) -> dict[str, Any]:
        """What Orthanc says of itself; empty where it does not answer."""
        return self._told("/system")

    @cached_property
    def plugin(self) -> dict[str, Any]:
        """What our plugin in Orthanc says of itself, of the node, and of Orthanc's settings; empty where it is not loaded."""
        return self._told("/apprentice/status")

    @property
    def orthanc_settings(self) -> dict[str, Any]:
        """Orthanc's settings, as far as they are known."""
        told = self.plugin.get("orthanc")
        known: dict[str, Any] = {name: self.system[name] for name in _TOLD_BY_ORTHANC if name in self.system}
        return known | (told if isinstance(told, dict) else {})

    def _told(self, path: str) -> dict[str, Any]:
        try:
            with self.archive() as client:
                return json_object(client.get(path))
        except (httpx2.RequestError, httpx2.InvalidURL, ConfigurationError):
            return {}

    @property
    def node_url(self) -> str:
        """Address of the node's own service, from this machine."""
        return self.settings.api.address

    def node_headers(self) -> dict[str, str]:
        """What opens the node's own service.

        Raises:
            ConfigurationError: the token cannot be read.
        """
        token = read_secret(self.settings.api.token_file)
        return {"Authorization": f"Bearer {token}"} if token else {}

    @contextmanager
    def node(self) -> Iterator[httpx2.Client]:
        """A client of the node's own service, which trusts the certificate that the settings name and no other.

        Raises:
            ConfigurationError: the token or the certificate cannot be read.
        """
        headers, verify = self.node_headers(), self._trust()
        with httpx2.Client(
            base_url=self.node_url, headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=verify
        ) as client:
            yield client

    def _trust(self) -> ssl.SSLContext | bool:
        """Whom the client of the node trusts. The name in the certificate is not that of loopback, and is not looked at."""
        file = self.settings.api.tls_certificate
        if file is None:
            return True
        try:
            context = ssl.create_default_context(cafile=str(file))
        except OSError as fault:
            raise ConfigurationError(f"api.tls_certificate: {file} cannot be read ({fault.strerror or fault})") from fault
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself, whoever signed it
        return context

    @property
    def database(self) -> Path:
        """The node's database."""
        return self.settings.node.data / "apprentice.sqlite"

    @contextmanager
    def store(self) -> Iterator[LocalStore]:
        """The node's store; it has to exist, and in this version's form.

        Raises:
            StoreError: it cannot be used.
        """
        with closing(LocalStore(self.settings.node.data, key_file=self.settings.node.encryption_key_file)) as store:
            yield store


def json_object(answer: httpx2.Response) -> dict[str, Any]:
    """The answer's JSON object; empty if it is none, or no success."""
    content = _json(answer)
    return content if isinstance(content, dict) else {}


def json_strings(answer: httpx2.Response) -> list[str]:
    """The texts in the answer's JSON list; empty if it is none."""
    content = _json(answer)
    return [entry for entry in content if isinstance(entry, str)] if isinstance(content, list) else []


def _json(answer: httpx2.Response) -> Any:
    if not answer.is_success:
        return None
    try:
        return answer.json()
    except ValueError:
        return None
