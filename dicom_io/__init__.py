"""DICOM in, types out, and back. No learning in here; nothing here imports ``learner``.

Arrays are ordered ``(slice, row, column)`` and say so in their names (``_DHW``; ``_CDHW`` with classes first); positions are
LPS millimetres in the order x, y, z.

Free of pydicom, so that ``learner.domain`` may import them: :mod:`~dicom_io.errors`, :mod:`~dicom_io.geometry`,
:mod:`~dicom_io.volume`, :mod:`~dicom_io.annotation`, :mod:`~dicom_io.identifiers`, :mod:`~dicom_io.codes`.
"""
