"""The measurements of the science: one command a study, each of which goes on where it was broken off.

    python benchmarks/science.py STUDY [--data FOLDER] [--runs FOLDER] [--seeds 3] [--jobs 1]
    python benchmarks/science.py list | results

A study is a list of runs of the evaluation (``learner/evaluation``) and a table of them. Runs lie in ``--runs`` under a digest
of their settings, so none is computed twice, whatever study asks for it. Records of finished ones are kept beside the tables,
in ``runs`` under ``--results``; with ``--kept`` they stand in for runs, which may be of earlier code: the table names it. The
table goes to ``--results`` as JSON and markdown; ``results`` makes ``benchmarks/RESULTS.md`` of all of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import structlog
from study.data import DEFAULT_DATA, Options
from study.engine import Study, planned, play
from study.guidance import guidance_table
from study.table import read_table, results_page

from learner.evaluation.modes import Part

HERE = Path(__file__).resolve().parent


def studies() -> dict[str, Study]:
    """All studies by name."""
    from study import continual, online, quality, saving  # noqa: PLC0415 - torch takes a second to import

    return {**online.STUDIES, **saving.STUDIES, **continual.STUDIES, **quality.STUDIES}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="name of a study, 'list', or 'results'")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=HERE.parent / ".cache" / "science", help="folder of the runs")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the tables")
    parser.add_argument("--kept", action="store_true", help="take runs whose records are kept instead of computing them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time, one thread each")
    parser.add_argument("--steps", type=int, default=20, help="training steps per case")
    parser.add_argument("--axis", type=int, default=1, help="slice axis of the hippocampus")
    parser.add_argument("--slices", type=int, default=6, help="slices drawn per case of the hippocampus")
    parser.add_argument("--cases", type=int, help="at most so many stream cases of hippocampus and heart")
    parser.add_argument("--tests", type=int, help="the same for their test cases")
    parser.add_argument("--part", type=Part, default=Part.TEST, choices=list(Part), help="what to test on")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a training setting of all runs")
    parser.add_argument("--plan", action="store_true", help="only list the runs of the study's first phase")
    return parser.parse_args(arguments)


def options_of(chosen: argparse.Namespace) -> Options:
    """What studies are asked."""
    pairs = (item.split("=", 1) for item in chosen.set)
    training = tuple((name, json.loads(value)) for name, value in pairs)
    return Options(
        data=chosen.data,
        seeds=chosen.seeds,
        steps=chosen.steps,
        axis=chosen.axis,
        slices=chosen.slices,
        cases=chosen.cases,
        tests=chosen.tests,
        part=chosen.part,
        training=training,
    )


def command_of(chosen: argparse.Namespace) -> str:
    """The command that makes the table again, without folders, which differ from machine to machine."""
    usual = parse([chosen.study])
    named = ("seeds", "steps", "axis", "slices", "cases", "tests", "part")
    words = [f"--{name} {getattr(chosen, name)}" for name in named if getattr(chosen, name) != getattr(usual, name)]
    return " ".join(["./run bench science", chosen.study, *words, *(f"--set {item}" for item in chosen.set)])


def assemble(results: Path) -> Path:
    """Makes ``RESULTS.md`` beside this file."""
    tables = [read_table(file) for file in results.glob("*.json")]
    tables += [guidance_table(file) for file in results.glob("guidance/*.json")]
    tables.sort(key=lambda table: (table.rank, table.title))
    page = HERE / "RESULTS.md"
    page.write_text(results_page(tables), encoding="utf-8")
    return page


def main() -> None:
    """Plays a study, lists them, or assembles the page."""
    chosen = parse(sys.argv[1:])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if chosen.study == "results":
        print(assemble(chosen.results))
        return
    known = studies()
    if chosen.study == "list" or chosen.study not in known:
        print("\n".join(f"{name:16s} {study.title}" for name, study in known.items()))
        sys.exit(0 if chosen.study == "list" else f"there is no study {chosen.study!r}")
    study, options = known[chosen.study], options_of(chosen)
    if chosen.plan:
        for name, settings, finished in planned(study, options, chosen.runs):
            print(f"{name:40s} {settings.mode:14s} {'finished' if finished else 'to do'}")
        return
    table = replace(
        play(study, options, chosen.runs, chosen.jobs, chosen.results / "runs", reuse=chosen.kept), command=command_of(chosen)
    )
    name = chosen.study if chosen.part is Part.TEST else f"{chosen.study}-{chosen.part}"
    print(table.markdown())
    print(f"written: {table.write(chosen.results, name)}", file=sys.stderr)


if __name__ == "__main__":
    main()
