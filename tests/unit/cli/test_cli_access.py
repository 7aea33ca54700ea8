"""Who may use the node, from the command line: passwords never as arguments, tokens shown once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from learner.cli import app
from learner.domain.user import Role
from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]
PASSWORD = "twelve green apples"


def test_a_user_is_added_before_the_node_ever_ran(run: Run, configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    arguments = ("--role", "reader", "--password-file", tmp_path / "password", "--config", configuration)
    code, output, _ = run("access", "add-user", "eva", *arguments)
    assert (code, output) == (0, "user eva may sign in as reader\n")
    assert LocalStore(tmp_path / "data").accounts.check_password("eva", PASSWORD)


def test_the_password_comes_from_standard_input_too(configuration: Path, tmp_path: Path) -> None:
    command = ["access", "add-user", "eva", "--role", "admin", "--password-file", "-", "--config", str(configuration)]
    assert CliRunner().invoke(app, command, input=PASSWORD + "\n").exit_code == 0
    command = ["access", "set-password", "eva", "--password-file", "-", "--config", str(configuration)]
    assert CliRunner().invoke(app, command, input="thirteen red plums\n").exit_code == 0
    assert LocalStore(tmp_path / "data").accounts.check_password("eva", "thirteen red plums")


def test_without_a_terminal_nobody_is_asked(run: Run, configuration: Path) -> None:
    code, _, error = run("access", "add-user", "eva", "--role", "reader", "--config", configuration)
    assert (code, error) == (1, "apprentice: no terminal to ask for the password; use --password-file\n")
    assert run("access", "add-user", "eva", "--role", "reader", "--password", "secret", "--config", configuration)[0] == 2


def test_a_token_is_the_whole_output_and_shown_once(run: Run, configuration: Path, tmp_path: Path) -> None:
    code, token, told = run("access", "add-token", "prometheus", "--role", "reader", "--config", configuration)
    assert code == 0
    assert "not shown again" in told
    user = LocalStore(tmp_path / "data").accounts.user_of_token(token.strip())
    assert user is not None
    assert (user.name, user.role) == ("prometheus", Role.READER)
    _, listed, _ = run("access", "list", "--json", "--config", configuration)
    assert token.strip() not in listed
    ((name, kind, role),) = [(one["name"], one["kind"], one["role"]) for one in json.loads(listed)]
    assert (name, kind, role) == ("prometheus", "token", "reader")


def test_roles_change_and_accounts_go(run: Run, configuration: Path, tmp_path: Path) -> None:
    run("access", "add-user", "eva", "--role", "reader", "--no-password", "--config", configuration)
    assert run("access", "set-role", "eva", "--role", "operator", "--config", configuration)[0] == 0
    _, listed, _ = run("access", "list", "--config", configuration)
    assert "operator" in listed
    assert "proxy" in listed
    code, output, told = run("access", "remove", "eva", "--config", configuration)
    assert (code, output) == (0, "eva is removed\n")
    assert "asks nobody now" in told
    assert LocalStore(tmp_path / "data").accounts.all() == ()
