"""Frozen types and pure rules; numpy and the pydicom-free part of ``dicom_io`` only."""
