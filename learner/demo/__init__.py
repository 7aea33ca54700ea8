"""The demonstration: a real Orthanc, the learner, a modality and a reader on one machine, on loopback ports.

Everything here may name concrete adapters and start processes; nothing else imports it.
"""
