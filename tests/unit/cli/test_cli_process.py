"""The command as a process: exit codes, one-line errors, a service that starts and stops cleanly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

COMMAND = [sys.executable, "-m", "learner"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("apprentice: ")
    return result.stderr


def test_known_errors_are_one_line_and_code_1(configuration: Path, tmp_path: Path) -> None:
    assert "none.toml cannot be read" in one_line(run("serve", "--config", tmp_path / "none.toml"))
    configuration.write_text("[pacs]\nurll = 1\n", encoding="utf-8")
    assert "pacs.urll: unknown key" in one_line(run("rounds", "--config", configuration))


def test_wrong_usage_is_one_line_and_code_2() -> None:
    for arguments, said in ((["doctor", "--onyl", "x"], "--only"), (["nonsense"], "No such command"), (["retry"], "Missing")):
        result = run(*arguments)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
        assert said in result.stderr
        assert "--help` lists what there is" in result.stderr


def test_without_arguments_it_helps_and_it_tells_its_version() -> None:
    assert "doctor" in run().stdout
    assert run("--version").stdout == run("version").stdout


def test_a_fault_of_the_program_is_one_line_but_with_debug() -> None:
    code = "from learner import cli; cli.app.command('broken')(lambda: {}['x']); raise SystemExit(cli.run({!r}))"
    for arguments, lines in ((["broken"], 1), (["--debug", "broken"], 5)):
        command = [sys.executable, "-c", code.replace("{!r}", repr(arguments))]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 70
        assert "a fault of the program (KeyError at" in result.stderr
        assert (result.stderr.count("\n") > lines) == (lines > 1)


def test_nothing_is_coloured_in_a_pipe(configuration: Path) -> None:
    assert "\x1b" not in run("doctor", "--only", "limits", "-c", configuration).stdout + run("--help").stdout


def test_a_port_that_is_taken_is_said_before_anything_starts(configuration: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configuration.write_text(f"[node]\ndata = 'data'\n[api]\nport = {port}\n", encoding="utf-8")
        assert f"127.0.0.1:{port} cannot be had" in one_line(run("serve", "--config", configuration))
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_is_none_is_one_line(configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    assert str(tmp_path / "data") in one_line(run("serve", "--config", configuration))


def test_heavy_libraries_stay_out_of_light_commands() -> None:
    heavy = ["torch", "monai", "uvicorn", "fastapi", "matplotlib", "highdicom", "SimpleITK", "httpx2", "pyrage"]
    code = f"import sys, learner.cli; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_serve_starts_without_its_archive_and_stops_on_sigterm(configuration: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = configuration.read_text(encoding="utf-8").replace("port = 9", f"port = {port}")
    configuration.write_text(text, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*COMMAND, "serve", "-c", str(configuration)], stderr=subprocess.PIPE, env=environment) as process:
        try:
            status = _status(f"http://127.0.0.1:{port}", process)
            assert "no connection to the archive" in status["node"]["archive_error"]
            assert str(configuration.parent / "data") in one_line(run("serve", "-c", _elsewhere(configuration)))
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    events = log.decode()
    assert "node stopped" in events
    assert "Traceback" not in events


def _elsewhere(configuration: Path) -> Path:
    """A second node on the same data, and another port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    other = configuration.with_name("other.toml")
    other.write_text(f'[node]\ndata = "data"\nlog_format = "text"\n[api]\nport = {port}\n', encoding="utf-8")
    return other


def _status(url: str, process: subprocess.Popen[bytes]) -> dict[str, dict[str, str]]:
    """The node's status, once it serves and has looked for its archive."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            status = httpx2.get(f"{url}/api/status", timeout=5, trust_env=False).json()
        except httpx2.TransportError:
            time.sleep(0.1)  # the pause of a wait for a condition
            continue
        if status["node"]["archive_error"]:
            return dict(status)
        time.sleep(0.1)  # the same
    raise AssertionError("the node did not serve in time")
