"""Whatever is known of a case, planes of any axis, strokes, some labels only: it is kept, and nothing else is claimed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.app.answering import answer_case
from learner.domain.example import Example
from learner.memory.files import StoredExample, encode
from learner.model.plan import plan_for
from learner.model.prepare import working_example
from learner.model.prepared import prepare_case
from learner.model.sampling import Sampler
from learner.model.settings import TrainingSettings
from learner.propagation import make_propagator

COMMON = settings(max_examples=30, deadline=None)
SPACING = (2.0, 0.7, 0.7)


@st.composite
def annotations(draw: st.DrawFn) -> SparseAnnotation:
    """Two labels: each known, or not, on planes of any axis and kind, and at single voxels."""
    shape = tuple(draw(st.integers(8, 14)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    truth = rng.integers(0, 3, [-(-size // 4) for size in shape]).astype(np.uint8)
    truth = truth.repeat(4, axis=0).repeat(4, axis=1).repeat(4, axis=2)[: shape[0], : shape[1], : shape[2]]
    known = np.zeros((2, *shape), bool)
    places = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), max_size=5, unique=True))
    planes = tuple(Plane(*place, draw(st.sampled_from([PlaneKind.DRAWN, PlaneKind.CONFIRMED]))) for place in sorted(places))
    for plane in planes:
        for number in draw(st.sampled_from([(1,), (2,), (1, 2)])):
            known[(number - 1, *plane.where)] = True
    for _ in range(draw(st.integers(0, 6))):
        known[(slice(None), *rng.integers(0, shape))] = True
    stands = np.where(truth > 0, np.take_along_axis(known, np.maximum(truth, 1)[None] - 1, axis=0)[0], False)
    return SparseAnnotation(np.where(stands, truth, 0).astype(np.uint8), known, planes)


class Guess:
    """A network that guesses."""

    def predict(self, image_DHW: np.ndarray, spacing_DHW: tuple[float, float, float]) -> np.ndarray:
        return np.moveaxis(np.random.default_rng(3).dirichlet(np.ones(3), image_DHW.shape).astype(np.float32), -1, 0)


@COMMON
@given(annotation=annotations(), with_network=st.booleans())
def test_an_answer_keeps_what_is_known(annotation: SparseAnnotation, with_network: bool) -> None:
    image = annotation.labels_DHW.astype(np.float32)
    found = answer_case(
        image, SPACING, annotation, 2, make_propagator("shape-interpolation"), Guess() if with_network else None
    )
    known = annotation.known_DHW
    np.testing.assert_array_equal(found.answer.labels_DHW[known], annotation.labels_DHW[known])
    for number, known_DHW in enumerate(annotation.known_LDHW, start=1):
        assert not (found.answer.labels_DHW == number)[known_DHW & (annotation.labels_DHW != number)].any()
    np.testing.assert_allclose(found.answer.soft_CDHW.sum(axis=0), 1, atol=1e-4)


@COMMON
@given(annotation=annotations())
def test_what_is_learned_is_what_is_known(annotation: SparseAnnotation) -> None:
    image = annotation.labels_DHW.astype(np.float32)
    proxy = make_propagator("shape-interpolation").propagate(image, (1.0, 1.0, 1.0), annotation)
    example = Example("key", "task", 1, image, (1.0, 1.0, 1.0), annotation, proxy)
    plan = plan_for((image.shape[0], image.shape[1], image.shape[2]), example.spacing_DHW, 2)
    plan, content = replace(plan, patch_DHW=image.shape), encode(working_example(plan, example))
    case = prepare_case(StoredExample(io.BytesIO(content), content), 2)
    item = Sampler(plan, TrainingSettings()).item(case, np.random.default_rng(0))
    target, weight = item[plan.image_channels : -2], item[-2]
    known, unknown = annotation.known_DHW, list(annotation.unknown_labels)
    np.testing.assert_array_equal(target[:, known].argmax(axis=0), annotation.labels_DHW[known])
    np.testing.assert_allclose(target[:, known].sum(axis=0), 1, atol=1e-5)
    assert (target.sum(axis=0) < 1 + 1e-5).all()
    if unknown:
        assert not target[0][~known].any(), "nowhere is background claimed where nobody looked"
    if not annotation.planes:
        assert not weight[~known].any()
