"""The second implementation: plain Python, one record at a time, slow on purpose. It knows nothing of the operators that it checks."""
