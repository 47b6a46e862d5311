# The official Triton (2.52, Python 3.12) with what runs inside the models: the versions that build, tests and the embedded server use.
FROM nvcr.io/nvidia/tritonserver:24.11-py3
COPY requirements/triton.lock /opt/headrace/triton.lock
RUN pip install --no-cache-dir --require-hashes --target /opt/headrace/packages --requirement /opt/headrace/triton.lock
ENV PYTHONPATH=/opt/headrace/packages
