"""The suggested slices as pictures, for archives whose viewers show nothing else: Secondary Capture images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.annotation import LabelArray
from dicom_io.codes import Code
from dicom_io.identifiers import derived_uid
from dicom_io.result_dataset import RESEARCH_USE, concept, encoded, result_dataset, short
from dicom_io.results import ResultIdentity, SegmentDescription, SuggestedSlice
from dicom_io.source_headers import reference
from dicom_io.volume import ImageSeries
from dicom_io.write_document import places_of

SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
_LEAST_WIDTH = 512
"""Pixels; smaller slices are enlarged, so that the text fits."""
_WINDOW_PERCENTILES = (1.0, 99.0)
_HEAT = (240, 59, 32)
_HEAT_OPACITY = 0.6
_TEXT_SCALE, _LINE_HEIGHT = 0.5, 18
_LONGEST_LINE = 56

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


def write_captures(
    source: ImageSeries,
    suggestions: Sequence[SuggestedSlice],
    labels_DHW: LabelArray,
    residual_DHW: FloatArray,
    segments: Sequence[SegmentDescription],
    identity: ResultIdentity,
) -> list[tuple[str, bytes]]:
    """The suggested slices as RGB pictures with the outlines of the prediction, the residual, and text burned in.

    Single-frame Secondary Captures (PS3.3 section A.8.1) of one series, because old archives know no other kind.

    Args:
        source: the image series.
        suggestions: best first; Instance Numbers follow this order.
        labels_DHW: uint8 ``(slice, row, column)`` on the source's volume, the prediction.
        residual_DHW: float32 in [0, 1], likewise.
        segments: meaning and colours of the labels.
        identity: UIDs, texts and date; the SOP Instance UIDs are derived from its.

    Returns:
        SOP Instance UID and DICOM Part 10 file of each.

    Raises:
        ValueError: a suggestion is no acquired slice, or labels or residual do not fill the volume.
    """
    places = places_of(source, (one.plane for one in suggestions))
    image_SHW = source.onto_slices(source.volume.voxels_DHW)
    labels_SHW, residual_SHW = source.onto_slices(labels_DHW), source.onto_slices(residual_DHW)
    low, high = np.percentile(source.volume.voxels_DHW, _WINDOW_PERCENTILES)
    out = []
    for rank, (place, one) in enumerate(zip(places, suggestions, strict=True), start=1):
        grey_HW = np.clip((image_SHW[place] - low) / max(high - low, 1e-6), 0, 1)
        picture = _Picture(source, grey_HW)
        picture.heat(residual_SHW[place])
        for segment in segments:
            picture.outline(labels_SHW[place] == segment.number, segment.colour)
        picture.write(f"{RESEARCH_USE.upper()}  {identity.task_id} round {identity.round_number}", top=True)
        picture.write(f"{rank}. slice {place + 1} of {len(source.slices)}: {one.reason}", top=False)
        uid = derived_uid(identity.sop_instance_uid, "capture", str(rank))
        out.append((uid, _capture(source, place, picture.pixels_HW3, rank, uid, identity)))
    return out


class _Picture:
    """A slice as RGB with square pixels, to draw on."""

    def __init__(self, source: ImageSeries, grey_HW: FloatArray) -> None:
        _, height, width = source.volume.geometry.spacing_DHW
        rows, columns = grey_HW.shape
        scale = max(1.0, _LEAST_WIDTH / (columns * width / min(height, width)))
        self._size = round(columns * scale * width / min(height, width)), round(rows * scale * height / min(height, width))
        grey = cv2.resize(np.rint(grey_HW * 255).astype(np.uint8), self._size, interpolation=cv2.INTER_LINEAR)
        self.pixels_HW3: ByteArray = np.repeat(grey[..., None], 3, axis=2)

    def heat(self, residual_HW: FloatArray) -> None:
        """Colours in proportion to the residual."""
        share = cv2.resize(residual_HW, self._size, interpolation=cv2.INTER_NEAREST)[..., None] * _HEAT_OPACITY
        mixed = self.pixels_HW3 * (1 - share) + np.asarray(_HEAT) * share
        self.pixels_HW3 = np.rint(mixed).astype(np.uint8)

    def outline(self, mask_HW: npt.NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
        """Draws the edge of a mask."""
        large = cv2.resize(mask_HW.astype(np.uint8), self._size, interpolation=cv2.INTER_NEAREST)
        lines, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(self.pixels_HW3, lines, -1, colour, 1)

    def write(self, said: str, *, top: bool) -> None:
        """Adds a line of text above or below; the font knows ASCII only."""
        bar = np.zeros((_LINE_HEIGHT, self._size[0], 3), np.uint8)
        line = short(said, _LONGEST_LINE).encode("ascii", "replace").decode()
        cv2.putText(bar, line, (4, _LINE_HEIGHT - 5), cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)
        self.pixels_HW3 = np.concatenate([bar, self.pixels_HW3] if top else [self.pixels_HW3, bar])


def _capture(source: ImageSeries, place: int, pixels_HW3: ByteArray, number: int, uid: str, identity: ResultIdentity) -> bytes:
    dataset = result_dataset(source.headers[0], identity, SECONDARY_CAPTURE_CLASS, "OT")
    dataset.SOPInstanceUID, dataset.InstanceNumber = uid, number
    dataset.ImageType, dataset.ConversionType = ["DERIVED", "SECONDARY"], "WSD"
    dataset.PatientOrientation, dataset.Laterality = "", ""  # type 2C; validators miss them
    image = reference(source, source.slices[place])
    image.PurposeOfReferenceCodeSequence = [concept(_SOURCE_IMAGE)]
    dataset.SourceImageSequence = [image]
    dataset.DerivationDescription = "Slice with predicted outlines and disagreement"
    dataset.BurnedInAnnotation, dataset.ImageComments = "YES", RESEARCH_USE
    dataset.LossyImageCompression = "00"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.Rows, dataset.Columns = pixels_HW3.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels_HW3.tobytes() + b"\0" * (pixels_HW3.size % 2)
    dataset["PixelData"].VR = "OB"
    return encoded(dataset)
