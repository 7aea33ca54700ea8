"""What kinds of objects a round sends to the archive."""

PREDICTION = "prediction"
RESIDUAL_BANDS, RESIDUAL_MAP, RESIDUAL_FRACTIONAL = "residual-bands", "residual-map", "residual-fractional"
KEY_OBJECTS, REPORT, CONTOURS, CAPTURES = "key-objects", "report", "contours", "captures"
KINDS = (PREDICTION, RESIDUAL_BANDS, RESIDUAL_MAP, RESIDUAL_FRACTIONAL, KEY_OBJECTS, REPORT, CONTOURS, CAPTURES)
"""All kinds of results; a kind's place is the last digit of its Series Number."""
DEFAULT_KINDS = frozenset({PREDICTION, RESIDUAL_BANDS, RESIDUAL_MAP, KEY_OBJECTS, REPORT})
REFUSAL = "refusal"
"""Says in the study why an annotation was not understood."""
