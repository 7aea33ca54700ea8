"""The network as ONNX: from normalised patches to probabilities, for runtimes without torch.

What comes before and after the network (grid, intensities, windows) depends on the image in ways that ONNX expresses badly, so
the file carries it as metadata, and ``predict.py`` beside it does it with numpy.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.export import Dim

from learner.export.errors import ExportError
from learner.export.facts import NORMALISATION, ModelFacts
from learner.export.frozen import Core, example_input
from learner.model.plan import Plan

if TYPE_CHECKING:
    import onnx

OPSET = 18
INPUT, OUTPUT = "image", "probabilities"
_LARGEST_AXIS = 4096


def onnx_file(facts: ModelFacts, weights: Mapping[str, Tensor]) -> bytes:
    """The network of one task as an ONNX file; batch and space are free, the latter in multiples of the plan's factors.

    Args:
        facts: of the version; become the file's metadata.
        weights: of the task, as a checkpoint has them.

    Raises:
        ExportError: if the packages for it are not installed.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - an optional dependency
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise ExportError(
            f"ONNX needs a package that is not installed ({error.name}); install it with `pip install onnx onnxscript`, "
            "or leave it out with `--what bundle,nnunet`"
        ) from None
    model = _exported(facts.plan, weights)
    for key, value in metadata(facts).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(model.SerializeToString())


def _exported(plan: Plan, weights: Mapping[str, Tensor]) -> onnx.ModelProto:
    core = Core(plan, weights).eval()
    names, factors = ["depth", "rows", "columns"][-plan.dimensions :], plan.factors[-plan.dimensions :]
    axes = {0: Dim("batch")}
    for axis, (name, factor) in enumerate(zip(names, factors, strict=True), start=2):
        size = Dim(name, min=1, max=_LARGEST_AXIS // factor)
        axes[axis] = factor * size if factor > 1 else size
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            core,
            (example_input(plan),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(axes,),
            verbose=False,
            external_data=False,
        )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to itself what the exporter says of packages that are not needed, and of its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def metadata(facts: ModelFacts) -> dict[str, str]:
    """What stands in the file: for people, and under ``plan`` for programs."""
    return {
        "task": facts.task.task_id,
        "labels": json.dumps(facts.channels),
        "label_codes": json.dumps(facts.labels),
        "spacing": json.dumps(list(facts.plan.spacing_DHW)),
        "orientation": facts.orientation,
        "normalisation": NORMALISATION,
        "plan": facts.plan.to_json(),
        "version": facts.checkpoint.name,
        "checkpoint_sha256": facts.checkpoint.sha256,
        "software": json.dumps(dict(facts.software)),
        "intended_use": "research",
    }
