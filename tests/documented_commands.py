"""Every command of the documentation's shell blocks, and what holds it: the one place that lists them.

A command that is new in a page goes into one of three tables: ``STEPS`` runs it against a real node, ``TESTED`` names the test
that runs it, ``NOT_RUN`` says why none does. ``tests/unit/test_docs_commands.py`` names what is missing, or is not needed
any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_MADE = ROOT / "docs" / "cli.md"
"""Made from the commands; ``tests/contract/test_cli_documentation.py`` holds it and its examples against them."""
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p != _MADE))
FENCE = re.compile(r"^ *```([\w-]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A command that ``tests/integration/test_documented_commands.py`` runs as it stands, but for ports and placeholders.

    Attributes:
        command: as in the pages, without its comment.
        expect: regular expression that its output has to match.
        until: whether it is run again until it does.
        needs: what has to be prepared first; a function of that test's.
        code: exit status.
    """

    command: str
    expect: str = ""
    until: bool = False
    needs: str = ""
    code: int = 0


STEPS = (
    # A task from zero, in its order.
    Step(". .venv/bin/activate"),
    Step("printf 'change-me' > mine/password"),
    Step("chmod 600 mine/password"),
    Step("Orthanc mine/orthanc.json", needs="orthanc"),
    Step("apprentice serve --config mine/apprentice.toml", needs="serve"),
    Step("export APPRENTICE_CONFIG=mine/apprentice.toml"),
    Step("apprentice doctor", r"archive"),
    Step("apprentice doctor --quick", r"archive"),
    Step("apprentice doctor --only archive --only dimse", r"archive"),
    Step("apprentice doctor --json", r'"findings"'),
    Step("apprentice tasks", r"prostate +Prostate, whole gland +1 Prostate .* none yet"),
    Step("/usr/bin/storescu -R -aec ORTHANC +sd 127.0.0.1 4242 series"),
    Step(
        "python docs/examples/draw.py series drawing.dcm --label Prostate --slices 3,7,10 --above 850", needs="images_complete"
    ),
    Step("/usr/bin/storescu -R -aec ORTHANC 127.0.0.1 4242 drawing.dcm"),
    Step("apprentice rounds", r"prostate +1 +answered", until=True),
    Step("curl -s http://127.0.0.1:8075/api/rounds", r'"state":"answered".*"drawn_slices":\[3,7,10\]'),
    Step(
        'curl -s -u "apprentice:$(cat mine/password)" http://127.0.0.1:8042/tools/find -d '
        '\'{"Level": "Series", "Expand": true, "Query": {"SeriesDescription": "prostate prediction*"}}\'',
        r"prostate prediction r1 \(research use\)",
    ),
    # The same node by other pages.
    Step("export APPRENTICE_CONFIG=var/demo/config/apprentice.toml", needs="demo_folder"),
    Step("apprentice rounds --limit 5", r"answered"),
    Step("apprentice training pause", r"paused"),
    Step("apprentice training status", r"paused"),
    Step("apprentice training resume", r"is on"),
    Step("apprentice retry ROUND", r"taken up again", needs="refused_round"),
    Step("apprentice lint FILE...", r"no rule is broken", needs="prediction_file"),
    Step("apprentice lint FILE... --source FOLDER", r"no rule is broken", needs="prediction_file"),
    Step("apprentice lint FILE... --source FOLDER --json", r'"findings": \[\]', needs="prediction_file"),
    Step('curl -H "Authorization: Bearer $(cat token)" http://127.0.0.1:8075/api/status', r'"version"', needs="token"),
    Step(
        'curl -H "Authorization: Bearer $(cat token)" http://127.0.0.1:8075/metrics', r"apprentice_archive_up 1", needs="token"
    ),
    Step("sh docker/make-secrets.sh", r"apprentice_token written"),
    # Meanwhile the node has learned.
    Step("apprentice versions prostate", r"prostate-1 +shadow", until=True),
)

_ACCESS = "tests/unit/cli/test_cli_access.py"
_ADDED = f"{_ACCESS}::test_a_user_is_added_before_the_node_ever_ran"
_CHANGED = f"{_ACCESS}::test_roles_change_and_accounts_go"
_TOKEN = f"{_ACCESS}::test_a_token_is_the_whole_output_and_shown_once"
_BACKUP = "tests/unit/cli/test_cli_backup.py::test_a_backup_is_made_checked_and_restored"
_ENCRYPTION = "tests/unit/cli/test_cli_encryption.py::test_a_folder_is_encrypted_and_decrypted"
_ELSEWHERE = "tests/unit/export/test_export_elsewhere.py"
_DEMO = "tests/integration/test_demo.py"
_FORGET = "tests/unit/cli/test_cli_forget.py"
_MODELS = "tests/unit/cli/test_cli_models.py"
_AUDIT = "tests/unit/cli/test_cli_audit.py"
_PLAY = "tests/unit/cli/test_cli_play.py"
_RULES = "tests/unit/http/test_monitoring.py::test_prometheus_takes_the_rules_and_they_fire_as_they_should"
_SIMULATE = "apprentice simulate --images imagesTr --labels labelsTr"

TESTED = {
    "./run demo": f"{_DEMO}::test_every_round_was_answered_and_is_good",
    "./run demo --once --json demo.json": f"{_DEMO}::test_what_is_written_and_told",
    "./run fuzz --count 10000 --seed 21": "tests/fuzz/test_fuzz.py::*",
    "apprentice audit version prostate 12": f"{_AUDIT}::test_version_tells_readers_stations_and_the_gates_word",
    "apprentice audit round 7": f"{_AUDIT}::test_round_tells_why_and_what_became_of_it",
    "apprentice audit log --since 2026-11-01": f"{_AUDIT}::test_log_lists_oldest_first_and_from_a_time_on",
    "apprentice audit verify": f"{_AUDIT}::test_verify_prints_a_hash_and_fails_for_what_was_changed",
    "./run soak": "tests/soak/test_soak.py::*",
    "apprentice versions brain": f"{_MODELS}::test_versions_are_listed_with_what_the_gate_said",
    "apprentice compare prostate 12 15": f"{_MODELS}::test_nothing_is_compared_while_no_case_is_held",
    "apprentice rollback prostate": f"{_MODELS}::test_a_model_is_rolled_back",
    "apprentice rollback prostate 12": f"{_MODELS}::test_a_model_is_rolled_back",
    "apprentice forget STUDY": f"{_FORGET}::test_it_asks_first",
    "apprentice forget STUDY --keep-results": (
        "tests/unit/app/test_forgetting_safely.py::test_results_may_stay_in_the_archive"
    ),
    "apprentice forget STUDY --lift": f"{_FORGET}::test_beside_a_running_node_the_order_is_the_node_s_to_do",
    "apprentice forget": f"{_FORGET}::test_without_a_node_the_command_removes_everything_itself",
    "apprentice retrain prostate": f"{_FORGET}::test_a_model_is_trained_anew_and_marked_versions_are_dropped",
    "apprentice retrain prostate --drop-marked": f"{_FORGET}::test_a_model_is_trained_anew_and_marked_versions_are_dropped",
    "apprentice rollback prostate 12 --retrain": f"{_MODELS}::test_a_model_is_rolled_back",
    ".venv/bin/apprentice simulate --images DIR --labels DIR --stream 60 --test 40 --slices 6 --axis 2 --seed 1 "
    "--out result.json": f"{_PLAY}::test_a_simulation_writes_its_stable_form",
    f"{_SIMULATE} --stream 60 --test 40 --slices 6 --axis 2 --seed 1 --out hippocampus.json": (
        f"{_PLAY}::test_a_simulation_writes_its_stable_form"
    ),
    f"{_SIMULATE} --stream 140 --test 60 --slices 6 --axis 1 --seed 0 --folder runs --plot --out hippocampus.json": (
        f"{_PLAY}::test_a_run_in_a_folder_is_kept_and_plotted"
    ),
    "apprentice simulate --tasks tasks.toml --order tasks --out three-tasks.json": (
        f"{_PLAY}::test_several_tasks_come_from_a_file"
    ),
    'apprentice access add-user "Eva Reader" --role reader': f"{_ACCESS}::test_the_password_comes_from_standard_input_too",
    "apprentice access add-user ops --role operator --password-file /run/secrets/ops": _ADDED,
    "apprentice access list": _ADDED,
    "apprentice access set-role ops --role admin": _CHANGED,
    "apprentice access set-password ops": _CHANGED,
    "apprentice access remove ops": _CHANGED,
    "apprentice access add-token orthanc --role reader > /etc/pacs-apprentice/token": _TOKEN,
    "apprentice access add-token prometheus --role reader > /etc/prometheus/apprentice-token": _TOKEN,
    "apprentice encryption make-key encryption-key": _ENCRYPTION,
    "apprentice encryption status": _ENCRYPTION,
    "apprentice encryption apply": _ENCRYPTION,
    "apprentice backup /mnt/backup": _BACKUP,
    "apprentice backup /mnt/backup --json": _BACKUP,
    "apprentice backup --verify /mnt/backup/pacs-apprentice-20260115T020000Z.tar": _BACKUP,
    "apprentice restore /mnt/backup/pacs-apprentice-20260115T020000Z.tar --data var/restored": _BACKUP,
    'curl -X POST -H "Content-Type: application/json" -d \'{"round_id": 12, "slices": [4, 5]}\' '
    "http://127.0.0.1:8075/api/companion/cases/3/accept": (
        "tests/unit/http/test_companion_routes.py::test_an_answer_is_accepted_on_some_slices_or_as_a_whole"
    ),
    "apprentice doctor --write": (
        "tests/integration/test_doctor_faults.py::test_a_sound_site_has_no_finding_and_keeps_nothing_of_the_round_trip"
    ),
    "apprentice export prostate --out export-prostate": (
        "tests/unit/export/test_export_order.py::test_the_command_exports_and_tells_what_is_missing"
    ),
    "python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir LABELS": (
        f"{_ELSEWHERE}::test_the_bundle_runs_where_none_of_our_code_is"
    ),
    "python export-prostate/onnx/predict.py IMAGE.nii.gz LABELS.nii.gz": (
        f"{_ELSEWHERE}::test_the_onnx_file_runs_where_neither_our_code_nor_torch_is"
    ),
    "promtool check rules docker/prometheus/rules.yml": _RULES,
    "promtool test rules docker/prometheus/rules.test.yml": _RULES,
}
"""Command to the test that runs it, or the same with smaller figures. ``*`` for all tests of a file."""

_ENGINE = "needs a container engine"
_BENCH = "a measurement of minutes to hours; its options are held against the program"
_CI = "`.ci/run` runs it"
_ELSE = "prepares the environment of those who use an export"
_NNUNET = "nnU-Net is no dependency; its verifier was run on an export by hand"
_SUITE = "rewrites the working tree"
_MACHINE = "changes a whole machine; `./run e2e-bundle` does it to a fresh one"
_SERVES = "runs until it is ended; the steps above do the same by `apprentice serve`"

NOT_RUN = {
    "find /mnt/backup -name 'pacs-apprentice-*.tar' -mtime +30 -delete": "the site's own files",
    "age -d -i encryption-key -o record.npz var/apprentice/rounds/00000001.npz": "needs the program age; was run by hand",
    "./run sbom": "needs its tools from a registry, and validates what it wrote",
    "./run licences": "`./run check` does the same",
    ".venv/bin/python -m pip install --force-reinstall --no-deps --require-hashes -r requirements/torch.txt": "gigabytes, slow",
    "./run setup": _CI,
    "./run check": _CI,
    "./run test": _CI,
    "./run e2e": _CI,
    "./run docs": _CI,
    "./run format": _SUITE,
    "./run viewer": "`./run e2e` runs it",
    "./run serve": _SERVES,
    "./run bundle": _MACHINE,
    "sh packaging/install.sh": _MACHINE,
    "sh packaging/install.sh --uninstall": _MACHINE,
    "sh packaging/install.sh --uninstall --purge": _MACHINE,
    "apprentice access add-user ops --role admin": _MACHINE,
    "systemctl status pacs-apprentice": _MACHINE,
    "systemctl edit pacs-apprentice": _MACHINE,
    "journalctl -u pacs-apprentice -f": _MACHINE,
    "sha256sum -c pacs-apprentice-*.tar.sha256": _MACHINE,
    "tar -xf pacs-apprentice-*.tar": _MACHINE,
    "sh pacs-apprentice-*/install.sh": _MACHINE,
    "docker compose -f docker/compose.yaml up --build": _ENGINE,
    "docker compose -f docker/compose.yaml --profile tls up --build": _ENGINE,
    "docker compose -f docker/compose.yaml --profile monitoring up --build": _ENGINE,
    "docker compose -f docker/compose.yaml exec learner apprentice access add-user ops --role admin": _ENGINE,
    "docker compose -f docker/compose.yaml exec learner apprentice doctor": _ENGINE,
    "./run bench prostatex --data FOLDER --runs 7": _BENCH,
    "./run bench cstore_with_plugin --runs 15": _BENCH,
    "./run bench dicom_speed --runs 3": _BENCH,
    "./run bench fetch_series --runs 3": _BENCH,
    "./run bench load": _BENCH,
    "./run bench newcomer": _BENCH,
    "./run bench page --cases 200 --rounds 1000 --runs 10": _BENCH,
    "pip install onnx onnxscript": _ELSE,
    "pip install monai nibabel pytorch-ignite fire": _ELSE,
    "pip install numpy nibabel onnxruntime": _ELSE,
    "cd export-prostate": _ELSE,
    "cd export-prostate/bundle": _ELSE,
    "export nnUNet_raw=$PWD/nnunet nnUNet_preprocessed=$PWD/preprocessed nnUNet_results=$PWD/results": _NNUNET,
    "nnUNetv2_plan_and_preprocess -d 1 --verify_dataset_integrity": _NNUNET,
    "nnUNetv2_train 1 2d 0": _NNUNET,
    "./run bench science hippocampus --data FOLDER --seeds 3 --jobs 2": _BENCH,
    "./run bench science results": _BENCH,
    "./run bench propagation --placements --names chained-flow": _BENCH,
}
"""Command to the reason why no test runs it."""


def without_comment(line: str) -> str:
    """A line of shell without its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def commands_of(text: str) -> list[str]:
    """Commands of the shell blocks of a page, in order; lines that go on are joined."""
    blocks = [block for language, block in FENCE.findall(text) if language in ("sh", "bash", "console", "shell")]
    lines = [without_comment(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [" ".join(line.split()) if "'" not in line else line for line in lines if line]
