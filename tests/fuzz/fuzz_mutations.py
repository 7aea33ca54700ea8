"""Mutations of valid inputs, deterministic by seed: of elements, of the file's bytes, and whole hostile objects."""

from __future__ import annotations

import copy
import random
import struct
import zlib
from collections.abc import Callable

from fuzz_bytes import ON_BYTES
from fuzz_corpus import Seed
from fuzz_elements import UNDEFINED, Element, Tree, encoded, padded, part10
from fuzz_hostile import HOSTILE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from dicom_io.datasets import lenient

TEXT_VRS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
NUMBERS = (
    "0",
    "-1",
    "1",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "-inf",
    "1e-320",
    "",
    "65536",
    "2147483648",
    "99999999999",
    "1\\2",
    "x",
    "0.0000001",
)
SHORTS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 32, 64, 255, 256, 32767, 32768, 65535)
VRS = (
    *TEXT_VRS,
    "AT",
    "FD",
    "FL",
    "OB",
    "OW",
    "OF",
    "OD",
    "SL",
    "SS",
    "SQ",
    "UL",
    "US",
    "UN",
    "SV",
    "UV",
    "ZZ",
    "??",
    "\0\0",
    "xx",
)
INTERESTING = tuple(
    """
    Rows Columns NumberOfFrames BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel
    PhotometricInterpretation PlanarConfiguration ImagePositionPatient ImageOrientationPatient PixelSpacing
    SliceThickness SpacingBetweenSlices SegmentNumber ReferencedSegmentNumber MaximumFractionalValue SegmentationType
    SegmentsOverlap RescaleSlope RescaleIntercept LUTDescriptor LUTData GraphicData GraphicType ContourData
    NumberOfContourPoints ContourGeometricType ROINumber ReferencedROINumber ReferencedFrameNumber
    ReferencedSOPInstanceUID FrameOfReferenceUID SOPClassUID SOPInstanceUID SeriesInstanceUID StudyInstanceUID
    Modality ImageType ValueType RelationshipType CodeValue CodingSchemeDesignator CodeMeaning SegmentLabel
    SegmentAlgorithmType PixelData InstanceNumber RecommendedDisplayCIELabValue ContentDate ContentTime
    ContentCreatorName SpecificCharacterSet ROIName TextValue DimensionIndexValues FrameAcquisitionNumber
    TemporalPositionIndex EffectiveEchoTime RealWorldValueSlope RealWorldValueIntercept
    PerFrameFunctionalGroupsSequence SharedFunctionalGroupsSequence SegmentSequence ContentSequence ContourSequence
    ROIContourSequence StructureSetROISequence DerivationImageSequence SourceImageSequence PlanePositionSequence
    PlaneOrientationSequence PixelMeasuresSequence ReferencedSeriesSequence EchoTime AcquisitionNumber
    GantryDetectorTilt
    """.split()  # noqa: SIM905 - a list of words, one a line, is a page long
)
"""What the readers decide by: mutated more often than the rest."""
CHARSETS = (
    b"ISO_IR 192",
    b"ISO 2022 IR 87\\ISO 2022 IR 149",
    b"ISO_IR 999",
    b"\\ISO 2022 IR 87",
    b"GB18030",
    b"\xff\xfe",
    b"utf-16",
)
BAD_TEXTS = (
    b"\xff\xfe\xfd\x80",
    b"\x1b$B\x1b(B\x1b$)C",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\0\0\0",
    b"^" * 2000,
    b"=" * 2000,
    b"a^" * 500,
)
SMALL_ENOUGH = 200_000
"""Trees with more bytes are not multiplied."""
Random = random.Random
HOSTILE_SHARE = 0.02
"""Of inputs that are made without measure."""


def _is_patient(element: Element) -> bool:
    """Who the patient is stays where it is: moved into a UID it would rightly be named."""
    return element.tag >> 16 == 0x0010


def _pick(tree: Tree, r: Random) -> Element:
    """One element, often one that readers decide by."""
    every = list(tree.every())
    wanted = [element for element in every if element.keyword in INTERESTING]
    return r.choice(wanted) if wanted and r.random() < 0.75 else r.choice(every)


def _owner(tree: Tree, r: Random) -> list[Element]:
    """A list of elements that is not empty."""
    return r.choice([elements for elements in tree.lists() if elements])


def drop(tree: Tree, r: Random) -> None:
    wanted = _pick(tree, r)
    for elements in tree.lists():
        if any(element is wanted for element in elements):
            elements[:] = [element for element in elements if element is not wanted]
            return


def drop_everywhere(tree: Tree, r: Random) -> None:
    keyword = _pick(tree, r).keyword
    for elements in list(tree.lists()):
        elements[:] = [element for element in elements if element.keyword != keyword]


def duplicate(tree: Tree, r: Random) -> None:
    elements = _owner(tree, r)
    elements.insert(r.randrange(len(elements) + 1), copy.deepcopy(r.choice(elements)))


def reorder(tree: Tree, r: Random) -> None:
    r.shuffle(_owner(tree, r))


def swap_values(tree: Tree, r: Random) -> None:
    one, other = _pick(tree, r), _pick(tree, r)
    if not _is_patient(one) and not _is_patient(other):
        one.value, other.value, one.items, other.items = other.value, one.value, other.items, one.items


def contradict(tree: Tree, r: Random) -> None:
    """A value of the right form that cannot be."""
    element = _pick(tree, r)
    if element.items is not None:
        element.items = r.choice([[], [[]], element.items * 2, element.items[:1], element.items[::-1]])
    elif element.vr in ("DS", "IS"):
        count = element.value.count(b"\\") + 1
        parts = element.value.split(b"\\")
        for _ in range(r.choice((1, count))):
            parts[r.randrange(count)] = r.choice(NUMBERS).encode()
        element.value = padded(b"\\".join(parts))
    elif element.vr in ("US", "SS"):
        element.value = struct.pack("<H", r.choice(SHORTS)) * max(1, len(element.value) // 2)
    elif element.vr in ("FL", "FD"):
        form = "<f" if element.vr == "FL" else "<d"
        value = r.choice((0.0, -1.0, float("nan"), float("inf"), 3e38, -3e38, 1e-30))
        size = struct.calcsize(form)
        at = r.randrange(max(1, len(element.value) // size)) * size
        element.value = element.value[:at] + struct.pack(form, value) + element.value[at + size :]
    elif element.vr in ("UL", "SL"):
        element.value = struct.pack("<I", r.choice((0, 1, 2**31, 2**32 - 1)))
    elif element.vr in ("OB", "OW", "OF"):
        element.value = r.choice((b"", element.value[: len(element.value) // 2], element.value * 2, b"\xff\xff"))
    elif not _is_patient(element):
        element.value = padded(r.choice((b"", b"NONE", b"1.2.3", b"x" * 300, element.value[:3], b"a\nb\r\x1b[31m", b"\\\\\\")))


def wrong_vr(tree: Tree, r: Random) -> None:
    element = _pick(tree, r)
    element.vr = r.choice(VRS)
    if element.items is not None and element.vr != "SQ":
        element.value, element.items = b"".join(encoded(item) for item in element.items)[:60_000], None


def wrong_length(tree: Tree, r: Random) -> None:
    element = _pick(tree, r)
    element.length = r.choice(
        (0, 1, 3, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED, len(element.value) + 2, max(0, len(element.value) - 2))
    )


def undefined_lengths(tree: Tree, r: Random) -> None:
    for element in tree.every() if r.random() < 0.5 else [_pick(tree, r)]:
        element.undefined = element.items is not None or r.random() < 0.05


def empty(tree: Tree, r: Random) -> None:
    keyword = _pick(tree, r).keyword
    for element in tree.named(keyword):
        element.value, element.items = b"", None if element.items is None else []


def empty_sequences(tree: Tree, r: Random) -> None:
    share = r.choice((0.1, 0.5, 1.0))
    for element in list(tree.every()):
        if element.items is not None and r.random() < share:
            element.items = r.choice(([], [[]]))


def multiply(tree: Tree, r: Random) -> None:
    element = _pick(tree, r)
    if element.vr in TEXT_VRS and not _is_patient(element):
        element.value = padded(b"\\".join([element.value or b"1"] * r.choice((2, 3, 100, 3000))))


def repeat_items(tree: Tree, r: Random) -> None:
    sequences = [element for element in tree.every() if element.items]
    if not sequences:
        return
    element = r.choice(sequences)
    times = r.choice((2, 3, 20, 1000))
    if len(element.encoded()) * times < 4 * SMALL_ENOUGH:
        element.items = [copy.deepcopy(item) for _ in range(times) for item in element.items or ()]


def nest(tree: Tree, r: Random) -> None:
    """A sequence within itself, as deep as it goes; bytes, because building it as a tree would recurse here."""
    keyword = r.choice(("ContentSequence", "SourceImageSequence", "ConceptNameCodeSequence", "DerivationImageSequence"))
    depth, undefined = r.choice((20, 100, 1000, 10_000)), r.random() < 0.5
    tag = tag_for_keyword(keyword) or 0
    head = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"SQ", 0)
    inner = encoded(copy.deepcopy(_owner(tree, r)))[:5000]
    if undefined:
        inner = (head + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4) * depth + inner
        inner += (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth
        value = inner[12:]
    else:
        value = _nested(head, inner, depth)
    elements = _owner(tree, r) if r.random() < 0.5 else tree.elements
    elements[:] = [element for element in elements if element.tag != tag]
    elements.append(Element(tag, "SQ", value, length=UNDEFINED if undefined else None))
    elements.sort(key=lambda element: element.tag)


def _nested(head: bytes, inner: bytes, depth: int) -> bytes:
    """The value of a sequence that holds itself ``depth`` times, with explicit lengths."""
    heads, size = [], len(inner)
    for _ in range(depth - 1):
        heads.append(b"\xfe\xff\x00\xe0" + struct.pack("<I", size))
        size += 8
        heads.append(head + struct.pack("<I", size))
        size += 12
    heads.append(b"\xfe\xff\x00\xe0" + struct.pack("<I", size))
    return b"".join(reversed(heads)) + inner


def private(tree: Tree, r: Random) -> None:
    elements = _owner(tree, r)
    group = r.choice((0x0009, 0x0029, 0x5201, 0x7FE1))
    elements.append(Element(group << 16 | 0x10, "LO", b"JUNK"))
    elements.append(Element(group << 16 | 0x1001, r.choice(VRS), r.randbytes(r.choice((0, 2, 64, 3000)))))
    elements.sort(key=lambda element: element.tag)


def charset(tree: Tree, r: Random) -> None:
    tree.elements[:] = [element for element in tree.elements if element.keyword != "SpecificCharacterSet"]
    tree.elements.insert(0, Element(0x00080005, "CS", padded(r.choice(CHARSETS))))
    for element in tree.every():
        if element.vr in TEXT_VRS and not _is_patient(element) and r.random() < 0.2:
            element.value = padded(r.choice(BAD_TEXTS))


def bad_text(tree: Tree, r: Random) -> None:
    element = _pick(tree, r)
    if element.vr in TEXT_VRS and not _is_patient(element):
        element.value = padded(r.choice(BAD_TEXTS))


def patient_bomb(tree: Tree, r: Random) -> None:
    """A name with too many components, which must not be told either."""
    for element in tree.elements:
        if element.keyword in ("PatientName", "ContentCreatorName"):
            element.value = padded(b"ZEBRA" + r.choice((b"^" * 4000, b"=" * 4000, b"\\ZEBRA" * 500, b"\xff\xfe\x1b$B")))


def add_known(tree: Tree, r: Random) -> None:
    """An element that readers look at, where it does not belong."""
    keyword = r.choice(INTERESTING)
    tag = tag_for_keyword(keyword) or 0
    vr = dictionary_VR(tag)[:2]
    value = padded(r.choice(NUMBERS).encode()) if vr in TEXT_VRS else struct.pack("<HH", r.choice(SHORTS), r.choice(SHORTS))
    elements = _owner(tree, r)
    elements.append(Element(tag, vr, b"" if vr == "SQ" else value, items=[[]] if vr == "SQ" else None))
    elements.sort(key=lambda element: element.tag)


ON_TREES: tuple[Callable[[Tree, Random], None], ...] = (
    *(contradict,) * 8,
    *(drop, drop_everywhere, duplicate, reorder, swap_values, wrong_vr, wrong_vr, wrong_length, undefined_lengths) * 2,
    *(empty, empty_sequences, multiply, repeat_items, nest, private, charset, bad_text, patient_bomb, add_known),
)


def _on_tree(file: bytes, r: Random, names: list[str]) -> bytes:
    tree = Tree.of(file)
    deflated = tree.meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    for _ in range(r.choice((1, 1, 1, 2, 3, 6))):
        mutation = r.choice(ON_TREES)
        mutation(tree, r)
        names.append(mutation.__name__)
    body = encoded(tree.elements)
    if deflated:
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = squeeze.compress(body) + squeeze.flush()
    elif tree.meta.TransferSyntaxUID in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        tree.meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"  # elements are encoded as explicit little endian
    return part10(tree.meta, body)


def _mutated_file(file: bytes, r: Random, names: list[str]) -> bytes:
    if r.random() < 0.7:
        file = _on_tree(file, r, names)
        if r.random() < 0.7:
            return file
    for _ in range(r.choice((1, 1, 2))):
        change = r.choice(ON_BYTES)
        names.append(change.__name__)
        file = change(file, r)
    return file


def mutated(seed: Seed, r: Random) -> tuple[Seed, tuple[str, ...]]:
    """A damaged copy, and what was done to it.

    Of a series one file, some or all are changed; files may be left out, repeated or put in another order. The source of an
    annotation is changed seldom.
    """
    names: list[str] = []
    files, source = list(seed.files), list(seed.source)
    chosen = files if not source or r.random() < 0.9 else source
    share = r.choice((0.0, 0.0, 0.5, 1.0))
    must = r.randrange(len(chosen))
    together = r.random() < 0.5
    again = r.getrandbits(64)
    hostile = r.random() < HOSTILE_SHARE  # one object of a series only: limits hold for each, and so does the time
    for index, file in enumerate(chosen):
        if hostile:
            if index == must:
                mutation = r.choice(HOSTILE)
                names.append(mutation.__name__)
                with lenient():
                    chosen[index] = mutation(file, r)
        elif index == must or r.random() < share:
            with lenient():
                chosen[index] = _mutated_file(file, Random(again) if together else r, names)
    if len(chosen) > 1 and r.random() < 0.1:
        r.shuffle(chosen)
    if len(chosen) > 1 and r.random() < 0.1:
        chosen[r.randrange(len(chosen))] = r.choice(chosen)
    if len(chosen) > 1 and r.random() < 0.1:
        del chosen[r.randrange(len(chosen))]
    return Seed(seed.kind, tuple(files), tuple(source)), tuple(dict.fromkeys(names))
