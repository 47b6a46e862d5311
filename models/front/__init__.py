"""What stands between a text and an encoder: tokens, windows, micro-batches, and names out of classes of tokens.

Serving and training share this package. The build copies it beside each ``model.py``, into an environment that has ``numpy<2`` and
nothing of headrace: so its modules import one another relatively, and else only the standard library, numpy, tokenizers and onnxruntime.
"""
