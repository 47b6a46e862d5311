"""The model ``pii_tagger`` as Triton loads it; all it does is in ``front``, which the build puts beside this file."""

from front.backend import TextModel


class TritonPythonModel(TextModel):
    """What Triton looks for."""
