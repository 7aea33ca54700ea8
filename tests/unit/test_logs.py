"""The log is never what stops the node."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys, logging, structlog
from learner.logs import configure_logs
sys.stderr = open("/dev/full", "w", buffering=1)
configure_logs({form!r})
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
    for form in ("json", "text"):
        command = [sys.executable, "-c", _CODE.replace("{form!r}", repr(form))]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.stdout == "alive\n", result.stderr
