"""Writes a drawing as a viewer would: a DICOM SEG of one segment on a few slices of a series.

    python docs/examples/draw.py SERIES DRAWING --label Prostate --slices 3,7,10 --above 850

SERIES is a folder of single-frame images, DRAWING the file to write. Slices are counted from 0 along the normal of the slices.
A threshold stands in for the hand. It needs pydicom, highdicom and scipy only, and nothing of this project.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from scipy import ndimage


def read_series(folder: Path) -> list[pydicom.Dataset]:
    """Images of a folder, in the order in which they lie along their normal."""
    images = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    row, column = np.reshape(images[0].ImageOrientationPatient, (2, 3)).astype(float)
    normal = np.cross(row, column)
    return sorted(images, key=lambda image: float(normal @ np.array(image.ImagePositionPatient, dtype=float)))


def largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask, its holes filled."""
    parts, count = ndimage.label(mask)
    if count == 0:
        raise SystemExit("nothing is as bright as that on one of the slices; lower --above, or choose other slices")
    sizes = np.bincount(parts.ravel())[1:]
    return ndimage.binary_fill_holes(parts == 1 + sizes.argmax())


def drawing(images: list[pydicom.Dataset], slices: list[int], above: float, label: str) -> hd.seg.Segmentation:
    """A segmentation object with the drawn slices in it, and no others."""
    drawn = [images[index] for index in slices]
    masks = [largest_region(ndimage.gaussian_filter(image.pixel_array.astype(float), 1) > above) for image in drawn]
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=CodedConcept("91723000", "SCT", "Anatomical Structure"),
        segmented_property_type=CodedConcept("91723000", "SCT", "Anatomical Structure"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    return hd.seg.Segmentation(
        source_images=drawn,
        pixel_array=np.stack(masks).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=hd.UID(),
        series_number=900,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Example",
        manufacturer_model_name="draw.py",
        software_versions="1",
        device_serial_number="1",
        series_description="drawing",
    )


def main() -> None:
    """Reads the arguments and writes the file."""
    parser = argparse.ArgumentParser(description="Draws on a few slices of a series by a threshold.")
    parser.add_argument("series", type=Path)
    parser.add_argument("drawing", type=Path)
    parser.add_argument("--label", required=True, help="name of the segment, as the task names it")
    parser.add_argument("--slices", required=True, help="numbers of slices, with commas")
    parser.add_argument("--above", type=float, required=True, help="stored value above which a pixel counts")
    options = parser.parse_args()
    slices = [int(number) for number in options.slices.split(",")]
    made = drawing(read_series(options.series), slices, options.above, options.label)
    made.save_as(options.drawing)


if __name__ == "__main__":
    main()
