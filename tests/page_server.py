"""A node on an archive in memory and a real HTTP server, for tests of the page in a browser."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import uvicorn
from filled_store import TASK
from node_harness import wait_for

from dicom_io.pacs.memory import MemoryArchive
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.domain.contract import ContractNames
from learner.http.app import create_app
from learner.node import Node
from learner.ports import Network
from learner.propagation import make_propagator
from learner.settings import ApiSettings, NodeSettings, Settings
from learner.storage.store import LocalStore, SystemClock
from learner.trainer_process import TrainerProcess


def _no_network(_state: bytes, _task_id: str, _label_count: int) -> Network:
    raise AssertionError("no test loads a network")


def make_node(folder: Path) -> Node:
    """A node on an archive in memory; its workers are not started, so that rounds stay as the test leaves them."""
    settings = Settings(node=NodeSettings(data=folder), api=ApiSettings(viewer_url="/viewer?StudyInstanceUIDs={study}"))
    archive, store, tasks = MemoryArchive(), LocalStore(folder), TaskBook([TASK])
    subjects = Subjects(
        archive, store, SeriesImages(archive, 0), TaskChoice(tasks, store, from_annotations=False), ContractNames()
    )
    compute = Compute(subjects, store, make_propagator(), ServingNetworks(store, _no_network), str)
    respond = Respond(archive, archive, store, compute, RespondSettings(), SystemClock())
    return Node(settings, store, tasks, Intake(archive, store, tasks), respond, TrainerProcess(folder / "none.toml"))


class Server:
    """A real HTTP server in a thread; it may be stopped, and another started on its port."""

    def __init__(self, node: Node, token: str = "", port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(create_app(node, token), log_config=None, lifespan="off", timeout_graceful_shutdown=5)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        wait_for(lambda: self._server.started, "the server")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
