"""From another study of the same patient to today's: the prior study's final labels, carried along a 3D registration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - the name that its documentation uses

from dicom_io.geometry import Geometry
from learner.domain.prior import CarriedPrior, PriorStudy
from learner.domain.proxy import ProxyMask
from learner.propagation.registration import (
    FEWEST,
    Match,
    RegistrationSettings,
    as_array,
    as_image,
    deformed,
    ones_like,
    onto,
    rigid,
)
from learner.propagation.signed_distance import NOWHERE, label_scores, signed_distance, soften

FloatArray = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

METHOD = "prior-study"
_MARGIN_MM = 15.0
"""Around the structure as the rigid step carries it: what the deformable step works on."""
_ROOM_MM = 40.0
"""Around the structure in the prior study: what of it is looked at."""


@dataclass(frozen=True, slots=True)
class Belief:
    """How far a carried prior is believed.

    Attributes:
        least_agreement: correlation along the contours below which the studies do not match.
        ceiling: largest confidence; a drawing's is 1.
        pixel: standard deviation of a carried contour's place, in pixels of the coarser of both grids.
        astray: the same per mm of forward-backward error.
        disagreement_mm: the same in mm where the images do not agree at all.
    """

    least_agreement: float = 0.5
    ceiling: float = 0.8
    pixel: float = 0.5
    astray: float = 0.5
    disagreement_mm: float = 6.0


class StudyRegistration:
    """A :class:`learner.ports.PriorCarrier` that lays the prior study's image over today's.

    Args:
        settings: of the registration.
        belief: how far the result is believed.
    """

    def __init__(self, settings: RegistrationSettings | None = None, belief: Belief | None = None) -> None:
        self._settings = settings or RegistrationSettings()
        self._belief = belief or Belief()

    def carry(self, prior: PriorStudy, image_DHW: FloatArray, geometry: Geometry, label_count: int) -> CarriedPrior:
        """See :meth:`learner.ports.PriorCarrier.carry`. Takes seconds; the same for the same input."""
        if problem := _problem(prior, image_DHW):
            return CarriedPrior(None, 0.0, problem)
        today, earlier = as_image(np.nan_to_num(image_DHW), geometry), as_image(np.nan_to_num(prior.image_DHW), prior.geometry)
        transform = rigid(today, earlier, self._settings)
        mask = as_image(prior.labels_DHW > 0, prior.geometry)
        box = _box(as_array(onto(mask, today, transform)) > 0.1, geometry, _MARGIN_MM)
        if box is None:
            return CarriedPrior(None, 0.0, "the structure of the prior study is not in today's images")
        region = today[_sitk_slices(box)]
        room = _box(prior.labels_DHW > 0, prior.geometry, _ROOM_MM)
        assert room is not None
        match = deformed(region, earlier[_sitk_slices(room)], transform, self._settings)
        if match is None:
            return CarriedPrior(None, 0.0, "the images of both studies could not be compared")
        scores_LDHW = _carried_scores(prior, room, region, match, label_count)
        agreement = _along_contours(scores_LDHW, as_array(onto(match.agreement, region)), region)
        if agreement < self._belief.least_agreement:
            return CarriedPrior(None, agreement, "the images of both studies do not match along the structure's contours")
        soft_CDHW, confidence_DHW = self._soft(scores_LDHW, match, region, agreement, prior.geometry)
        seen_DHW = as_array(onto(ones_like(earlier), today, transform)) > 0.5
        proxy = self._placed(soft_CDHW, confidence_DHW, seen_DHW, box, agreement)
        return CarriedPrior(proxy, agreement, unknown_labels=prior.unknown_labels)

    def _soft(
        self, scores_LDHW: FloatArray, match: Match, region: sitk.Image, agreement: float, geometry: Geometry
    ) -> tuple[FloatArray, FloatArray]:
        """Probabilities of a region, and their confidence.

        It falls with the disagreement of the images and with the forward-backward error (compared with the object's size), less
        so far from any contour; with the uncertainty of the label; and as a whole with the agreement along the contours.
        """
        belief = self._belief
        alike_DHW = np.clip(as_array(onto(match.agreement, region)), 0.0, 1.0)
        astray_DHW = as_array(onto(match.astray_mm, region))
        pixel_mm = max(*geometry.spacing_DHW[1:], *region.GetSpacing()[:2])
        error_DHW = np.sqrt(
            (belief.pixel * pixel_mm) ** 2
            + np.square(belief.astray * astray_DHW)
            + np.square(belief.disagreement_mm * (1.0 - alike_DHW))
        ).astype(np.float32)
        soft_CDHW = soften(scores_LDHW, error_DHW)
        radius_mm = max(float(scores_LDHW.max()), pixel_mm)
        near_DHW = alike_DHW / (1.0 + astray_DHW / radius_mm)
        away_DHW = np.exp(-np.abs(scores_LDHW.max(axis=0)) / radius_mm)
        certain_DHW = np.clip(2.0 * soft_CDHW.max(axis=0) - 1.0, 0.0, 1.0)
        confidence_DHW = (1.0 - (1.0 - near_DHW) * away_DHW) * (0.4 + 0.6 * certain_DHW) * belief.ceiling * agreement
        return soft_CDHW, confidence_DHW.astype(np.float32)

    def _placed(
        self, soft_CDHW: FloatArray, confidence_DHW: FloatArray, seen_DHW: npt.NDArray[np.bool_], box: Box, agreement: float
    ) -> ProxyMask:
        """A region in the whole volume: background around it, and no confidence where the prior study did not look."""
        whole_CDHW = np.zeros((len(soft_CDHW), *seen_DHW.shape), dtype=np.float32)
        whole_CDHW[0] = 1.0
        whole_CDHW[:, *box] = soft_CDHW
        sure_DHW = np.full(seen_DHW.shape, self._belief.ceiling * agreement, dtype=np.float32)
        sure_DHW[box] = confidence_DHW
        sure_DHW[~seen_DHW] = 0.0
        return ProxyMask(whole_CDHW, sure_DHW, METHOD)


def _problem(prior: PriorStudy, image_DHW: FloatArray) -> str:
    """Why two studies cannot be compared at all; empty if they can."""
    if not prior.labels_DHW.any():
        return "the prior study shows no structure"
    for which, shape in (("prior study's", prior.image_DHW.shape), ("today's", image_DHW.shape)):
        if min(shape) < FEWEST:
            return f"the {which} images have fewer than {FEWEST} voxels along an axis"
    return ""


def _box(mask_DHW: npt.NDArray[np.bool_], geometry: Geometry, margin_mm: float) -> Box | None:
    """The box around a mask with a margin, at least :data:`FEWEST` voxels along each axis; None of an empty one."""
    if not mask_DHW.any():
        return None
    sides = []
    for axis, (size, mm) in enumerate(zip(mask_DHW.shape, geometry.spacing_DHW, strict=True)):
        filled = np.flatnonzero(mask_DHW.any(axis=tuple(other for other in range(3) if other != axis)))
        room = max(int(np.ceil(margin_mm / mm)), 1)
        first, last = max(int(filled[0]) - room, 0), min(int(filled[-1]) + room + 1, size)
        last = min(max(last, first + FEWEST), size)
        sides.append(slice(min(first, last - FEWEST), last))
    return sides[0], sides[1], sides[2]


def _sitk_slices(box: Box) -> Box:
    return box[2], box[1], box[0]


def _carried_scores(prior: PriorStudy, room: Box, region: sitk.Image, match: Match, label_count: int) -> FloatArray:
    """Scores in mm of labels 1..L on the grid of a region: signed distances of the prior study, carried."""
    labels_DHW, spacing = prior.labels_DHW[room], prior.geometry.spacing_DHW
    object_DHW = signed_distance(labels_DHW > 0, spacing)
    each_LDHW = np.stack([signed_distance(labels_DHW == number, spacing) for number in range(1, label_count + 1)])
    offset = [one.start for one in room]
    affine = prior.geometry.affine.copy()
    affine[:3, 3] = prior.geometry.to_patient(offset)
    place = Geometry(labels_DHW.shape, affine, prior.geometry.frame_of_reference_uid)
    carried = [
        as_array(onto(as_image(values_DHW, place), region, match.to_earlier, NOWHERE))
        for values_DHW in (object_DHW, *each_LDHW)
    ]
    return label_scores(carried[0], np.stack(carried[1:]))


def _along_contours(scores_LDHW: FloatArray, agreement_DHW: FloatArray, region: sitk.Image) -> float:
    """Mean agreement of the images where the carried structure ends; 0 where nothing of it is."""
    object_DHW = scores_LDHW.max(axis=0) > 0
    if not object_DHW.any():
        return 0.0
    width_mm = 3.0 + 0.5 * max(region.GetSpacing()[:2])
    edge_DHW = np.abs(scores_LDHW.max(axis=0)) < width_mm
    return float(agreement_DHW[edge_DHW].mean()) if edge_DHW.any() else 0.0
