from __future__ import annotations

import os
import signal
from io import BytesIO
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from dicom_phantoms import make_series
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_io import pixels
from dicom_io.errors import UnsupportedObject
from dicom_io.pixels import pixel_array

VOXELS = np.random.default_rng(3).integers(0, 4000, (2, 40, 48)).astype(np.uint16)


def compressed(syntax: str, voxels_DHW: npt.NDArray[np.uint16] = VOXELS) -> Dataset:
    dataset = dcmread(BytesIO(make_series(voxels_DHW.shape, voxels_DHW=voxels_DHW)[1]))
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_pixels_are_decoded(syntax: str) -> None:
    assert np.array_equal(pixel_array(compressed(syntax), "x"), VOXELS[1])


def test_one_child_decodes_all_and_a_new_one_follows_when_it_dies() -> None:
    dataset, children = compressed(JPEGLSLossless), []
    for _ in range(3):
        assert np.array_equal(pixel_array(dataset, "x"), VOXELS[1])
        assert pixels._DECODER._process is not None
        children.append(pixels._DECODER._process.pid)
    assert all(one == other for one, other in pairwise(children))
    os.kill(children[0], signal.SIGKILL)
    pixels._DECODER._process.wait()
    assert np.array_equal(pixel_array(dataset, "x"), VOXELS[1])
    assert pixels._DECODER._process.pid != children[0]


def test_a_stream_that_takes_too_long_ends_the_child_and_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = compressed(JPEG2000Lossless, np.random.default_rng(4).integers(0, 65535, (2, 1024, 1024)).astype(np.uint16))
    pixels._DECODER.close()
    monkeypatch.setattr(pixels, "DECODER_SECONDS", 0.01)
    with pytest.raises(ValueError, match="did not survive"):
        pixel_array(dataset, "x")
    pixels._DECODER.close()


def test_damaged_pixels_are_an_error() -> None:
    dataset = compressed(JPEG2000Lossless)
    dataset.PixelData = dataset.PixelData[:200] + bytes(len(dataset.PixelData) - 200)
    with pytest.raises(ValueError, match=r"no decoder reads|did not survive"):
        pixel_array(dataset, "x")


def test_fewer_frames_than_announced_are_an_error() -> None:
    dataset = compressed(JPEGLSLossless)
    dataset.NumberOfFrames = 5
    with pytest.raises(EOFError):
        pixel_array(dataset, "x")


def test_more_pixels_than_are_read_are_refused_before_memory_is_taken() -> None:
    dataset = compressed(JPEGLSLossless)
    dataset.Rows = dataset.Columns = 65535
    dataset.NumberOfFrames = 100_000
    with pytest.raises(UnsupportedObject, match="pixels are more than"):
        pixel_array(dataset, "x")
