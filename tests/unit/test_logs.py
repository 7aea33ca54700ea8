"""The log is never what stops the node; rotation under several processes loses no line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from learner.errors import ConfigurationError
from learner.logs import configure_logs

WRITER = """
import logging, sys, threading
import structlog
from pathlib import Path
from learner.logs import configure_logs
configure_logs("json", Path(sys.argv[1]))
log = structlog.get_logger("learner.writer")
def write(name):
    for number in range(500):
        log.info("written", writer=f"{sys.argv[2]}-{name}", number=number, more="x" * (number % 7 * 3000))
threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
log.debug("too little to be told")
logging.getLogger("a.library").info("the same")
logging.getLogger("a.library").warning("a warning")
"""


def test_rotation_loses_no_line(tmp_path: Path) -> None:
    """Two processes of two threads write while the file is renamed again and again, with and without a new one in its place."""
    file = tmp_path / "apprentice.log"
    command = [sys.executable, "-c", WRITER, str(file)]
    writers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE) for name in ("node", "trainer")]
    rotated = 0
    while any(writer.poll() is None for writer in writers):
        if file.exists() and file.stat().st_size > 20_000:
            file.rename(tmp_path / f"apprentice.log.{rotated}")
            rotated += 1
            if rotated % 2:
                file.touch()  # logrotate's `create`
    assert [(writer.wait(), writer.communicate()[1]) for writer in writers] == [(0, b"")] * 2
    assert rotated > 5
    lines = [line for path in tmp_path.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    events = [json.loads(line) for line in lines]
    written = Counter((event["writer"], event["number"]) for event in events if event["event"] == "written")
    wanted = {(f"{process}-{thread}", number) for process in ("node", "trainer") for thread in "ab" for number in range(500)}
    assert set(written) == wanted
    assert set(written.values()) == {1}
    assert [(e["event"], e["level"]) for e in events if e["event"] != "written"] == [("a warning", "warning")] * 2


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"node\.log_file .*none/a\.log cannot be written"):
        configure_logs("json", tmp_path / "none" / "a.log")


_CODE = """
import sys, logging, structlog
from pathlib import Path, PosixPath
from learner.logs import configure_logs
sys.stderr = open("/dev/full", "w", buffering=1)
configure_logs({form!r}, {file!r})
for number in range(50):
    structlog.get_logger("x").warning("event", number=number)
    logging.getLogger("y").warning("event %s", number)
    try:
        raise ValueError
    except ValueError:
        structlog.get_logger("x").exception("fault")
print("alive")
"""


def test_a_log_on_a_full_disk_is_no_fault() -> None:
    for form, file in (("json", None), ("text", None), ("json", Path("/dev/full"))):
        command = [sys.executable, "-c", _CODE.replace("{form!r}", repr(form)).replace("{file!r}", repr(file))]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.stdout == "alive\n", result.stderr
