"""The learner: the service that turns a few drawn slices into a segmentation, and learns from them.

Imports only go down: ``cli, http -> wiring -> adapters (propagation, model, memory, storage, evaluation) -> app -> ports ->
domain -> dicom_io``; import-linter keeps it so.
"""
