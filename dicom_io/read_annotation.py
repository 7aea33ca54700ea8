"""Annotation objects: what they are before their images are at hand, and what is drawn in them once they are."""

from __future__ import annotations

from dicom_io.annotation import AnnotationHeader, Drawing
from dicom_io.annotation_header import header_of
from dicom_io.datasets import lenient, parse
from dicom_io.read_rtstruct import read_rtstruct
from dicom_io.read_seg import read_seg
from dicom_io.read_sr import read_sr
from dicom_io.volume import ImageSeries

_READERS = {"SEG": read_seg, "SR": read_sr, "RTSTRUCT": read_rtstruct}


def inspect(file: bytes) -> AnnotationHeader:
    """What an annotation object says of itself; needs no images and decodes no pixels.

    Raises:
        InvalidObject: the bytes are no DICOM object, are cut off, or lack identifiers.
        UnsupportedObject: the object is no SEG, SR or RTSTRUCT.
    """
    dataset = parse(file)
    with lenient():
        return header_of(dataset)


def read_annotation(file: bytes, source: ImageSeries) -> Drawing:
    """What is drawn in an annotation object, on the grid of its source image.

    Raises:
        InvalidObject, UnsupportedObject: the object cannot be read.
        EmptyAnnotation: nothing is drawn in it.
        SourceMissing: it refers to images that are not of ``source``.
        GeometryMismatch: it lies in another space than ``source``.
    """
    dataset = parse(file)
    with lenient():
        header = header_of(dataset)
        return _READERS[header.modality](dataset, header, source)
