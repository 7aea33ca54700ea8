"""The model card: what a network is, for people and for programs (Mitchell et al., "Model cards for model reporting", 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from learner.export.facts import NORMALISATION, ModelFacts
from learner.export.nnunet import NnUNetReport
from learner.export.onnx_file import OPSET

_CURVE_PARTS = 5


def card_json(facts: ModelFacts, left_out: NnUNetReport | None) -> dict[str, Any]:
    """The card as plain data."""
    checkpoint = facts.checkpoint
    return {
        **facts.essentials,
        "intended_use": "research",
        "licence": None,
        "exported_at": facts.exported_at,
        "parent": checkpoint.parent,
        "steps": checkpoint.steps,
        "state": str(checkpoint.state),
        "origin": dict(facts.origin),
        "orientation_source": facts.orientation_source,
        "data": asdict(facts.data),
        "gate": checkpoint.gate,
        "estimated_dice": list(facts.measured.estimated_dice),
        "learning_curve": [list(values) for values in facts.measured.curve],
        "not_exported": [asdict(one) for one in left_out.left_out] if left_out is not None else [],
    }


def card_markdown(facts: ModelFacts, parts: tuple[str, ...], nnunet: NnUNetReport | None) -> str:
    """The card for people.

    Args:
        facts: of the version.
        parts: what is exported.
        nnunet: what became of the annotations, or None where they are not exported.
    """
    sections = [
        f"# {facts.task.title}: model card",
        (
            "**Research use only.** No medical device; not for diagnosis or treatment. Licence: **to be filled in** by the "
            "site that "
            "exported it; until then none is given."
        ),
        *_what(facts),
        *_data(facts),
        *_metrics(facts),
        *_limits(facts),
        *_use(facts, parts),
    ]
    if nnunet is not None:
        sections += _annotations(facts, nnunet)
    return "\n\n".join(sections) + "\n"


def _what(facts: ModelFacts) -> list[str]:
    checkpoint, plan = facts.checkpoint, facts.plan
    made = datetime.fromtimestamp(checkpoint.created_at, UTC).date().isoformat()
    kind = "3D" if plan.dimensions == 3 else f"2.5D ({plan.context} neighbouring slices in, the middle one out)"
    rows = [
        ("task", f"`{facts.task.task_id}`, {'/'.join(facts.task.match.modalities)}"),
        ("outputs", ", ".join(f"{index} {name}" for index, name in enumerate(facts.channels))),
        ("version", f"{checkpoint.name} of {made}, {checkpoint.steps} training steps, state {checkpoint.state}"),
        ("parent", checkpoint.parent or "none"),
        ("began from", _origin(facts)),
        ("checkpoint SHA-256", f"`{checkpoint.sha256}`"),
        ("network", f"MONAI DynUNet, {kind}, filters {', '.join(map(str, plan.filters))}"),
        ("grid", f"spacing {_mm(plan.spacing_DHW)} mm (slice, row, column), patch {'x'.join(map(str, plan.patch_DHW))}"),
        ("intensities", NORMALISATION),
        ("orientation", f"(column, row, slice) to {facts.orientation}: {facts.orientation_source}"),
        ("software", ", ".join(f"{name} {number}" for name, number in facts.software.items())),
    ]
    return ["## What it is", _table(("", ""), rows)]


def _origin(facts: ModelFacts) -> str:
    origin = facts.origin
    if not origin:
        return "random weights"
    return f"bundle {origin.get('bundle')} version {origin.get('version')} (weights SHA-256 `{origin.get('weights_sha256')}`)"


def _data(facts: ModelFacts) -> list[str]:
    data = facts.data
    when = f"{data.first} to {data.last}" if data.first else "no date is known"
    lines = [
        (
            f"{data.cases} image series, {data.annotations} annotations on {data.drawn_slices} slices, by "
            f"{data.readers or 'an unknown number of'} reader(s), {when}. {data.held_cases} of the series are held back "
            f"from training, to "
            "judge versions by."
        ),
        (
            "A drawing covers a few slices; the rest was learned from proxy masks that registration carries from the drawn "
            "slices, "
            "weighted by their confidence. Nothing here identifies a patient, a reader or a site; names of sites and cases "
            "are keyed "
            "hashes whose key stays in the node."
        ),
    ]
    if data.sites:
        lines.append(_table(("site", "series"), [(site, str(count)) for site, count in sorted(data.sites.items())]))
    return ["## Data", *lines]


def _metrics(facts: ModelFacts) -> list[str]:
    gate, rows = facts.checkpoint.gate, []
    figures = gate.get("figures")
    for figure in figures if isinstance(figures, list) else []:
        if figure["task_id"] == facts.task.task_id:
            name, numbers = facts.channels[figure["label"]], (figure["cases"], figure["slices"])
            rows.append(
                (name, figure["site"][:8] or "all", *map(str, numbers), _dice(figure["candidate"]), _dice(figure["serving"]))
            )
    reason = str(gate.get("reason", "not judged yet"))
    parts = ["## How good it was found", f"The gate, on drawings that it was not trained on: {reason}."]
    if rows:
        parts.append(_table(("label", "site", "cases", "slices", "Dice", "Dice of what served before"), rows))
    labels = [(name, _dice(value)) for name, value in zip(facts.channels[1:], facts.measured.estimated_dice, strict=True)]
    parts += [
        "Dice that the node expected of its latest answers, drawings and network together:",
        _table(("label", "Dice"), labels),
    ]
    curve = _curve(facts)
    if curve:
        parts += ["Learning curve: Dice of the serving network alone on what was drawn next, before it learned from it:", curve]
    return parts


def _curve(facts: ModelFacts) -> str:
    """The stream of annotations in a few parts, the mean Dice of each label in each."""
    values = [[np.nan if one is None else one for one in row] for row in facts.measured.curve]
    values = [row for row in values if len(row) == len(facts.task.labels)]
    rows = []
    for part in np.array_split(np.arange(len(values)), min(_CURVE_PARTS, len(values))) if values else []:
        block = np.array([values[index] for index in part])
        known = [block[:, label][np.isfinite(block[:, label])] for label in range(block.shape[1])]
        rows.append((f"{part[0] + 1}-{part[-1] + 1}", *(_dice(float(one.mean()) if one.size else None) for one in known)))
    return _table(("annotations", *facts.channels[1:]), rows) if rows else ""


def _limits(facts: ModelFacts) -> list[str]:
    return [
        "## Limits",
        (
            "- It saw images of the sites above only; scanners, protocols and patients beyond them were never tested.\n"
            "- The figures come from few drawn slices of readers who drew for training; no independent reference, no test "
            "set apart.\n"
            f"- Images must be {'/'.join(facts.task.match.modalities)} of the kind above. It answers whatever it is given, "
            f"and does not say "
            "when an image is none of its kind.\n"
            "- Exported networks compute in float32. A node whose processor multiplies bfloat16 answers with that: its "
            "probabilities then "
            "differ by some hundredths at borders."
        ),
    ]


def _use(facts: ModelFacts, parts: tuple[str, ...]) -> list[str]:
    lines = ["## How to run it"]
    if "bundle" in parts:
        lines += [
            "MONAI bundle (`bundle/`), NIfTI files of a folder to label maps:",
            (
                "```sh\npip install monai nibabel pytorch-ignite fire\ncd bundle\npython -m monai.bundle run --config_file "
                "configs/inference.json --dataset_dir IMAGES --output_dir LABELS\n```"
            ),
            (
                "With `--probabilities True` it writes the probabilities too. `models/model.ts` is the whole way from "
                "voxels and spacing to "
                "probabilities; `models/model.pt` holds the weights of MONAI's DynUNet alone, for other training. "
                "`models/model.ts` and the "
                "configuration are programs: run them only from those you trust."
            ),
        ]
    if "onnx" in parts:
        lines += [
            f"ONNX (`onnx/`, opset {OPSET}), without torch:",
            "```sh\npip install numpy nibabel onnxruntime\npython onnx/predict.py IMAGE.nii.gz LABELS.nii.gz\n```",
            (
                f"The file is the network alone: normalised patches in, probabilities out; batch is free, sizes are "
                f"multiples of "
                f"{'x'.join(map(str, facts.plan.factors[-facts.plan.dimensions :]))}. `predict.py` does the rest with numpy."
            ),
        ]
    return lines


def _annotations(facts: ModelFacts, report: NnUNetReport) -> list[str]:
    replayed = sum(one["images_from"] == "replay" for one in report.cases)
    lines = [
        "## Annotations",
        (
            f"`nnunet/Dataset001_{facts.task.task_id}` holds {len(report.cases)} case(s) in nnU-Net's layout; what nobody "
            f"drew has the label "
            f"*ignore* ({len(facts.task.labels) + 1}). `nnunet/proxies_{facts.task.task_id}` holds the proxy masks: most "
            f"likely label, "
            "probabilities, confidence. `cases.json` says which planes are known, and which cases are held back."
        ),
        (
            "```sh\nexport nnUNet_raw=$PWD/nnunet nnUNet_preprocessed=$PWD/preprocessed nnUNet_results=$PWD/results\n"
            "nnUNetv2_plan_and_preprocess -d 1 --verify_dataset_integrity\nnnUNetv2_train 1 2d 0\n```"
        ),
    ]
    if replayed:
        lines.append(
            f"{replayed} case(s) come from the replay memory: normalised intensities on the network's grid, in an arbitrary "
            f"place and "
            "orientation. Do not mix them with others without thought."
        )
    if report.left_out:
        lines.append(_table(("case", "what could not be exported, and why"), [(one.name, one.why) for one in report.left_out]))
    return lines


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _dice(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mm(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{one:.2f}" for one in spacing)
