"""Archives: what the learner asks of a PACS (:mod:`~dicom_io.pacs.port`) and the adapters that do it."""
