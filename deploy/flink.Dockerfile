# A Flink cluster's machines and the command that hands them the pipeline: Flink, its Python environment, and headrace.
FROM flink:2.3.0-java17 AS flink

FROM python:3.11.13-slim-bookworm AS build
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends openjdk-17-jdk-headless maven gcc libc6-dev
RUN python -m venv /opt/headrace && python -m venv /opt/headrace-flink
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/core.lock requirements/flink.lock /src/requirements/
RUN /opt/headrace/bin/pip install --require-hashes -r /src/requirements/core.lock \
 && JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64 /opt/headrace-flink/bin/pip install --require-hashes -r /src/requirements/flink.lock
COPY . /src
WORKDIR /src
# The connector's jar, by the checksum that the code names.
RUN /opt/headrace/bin/pip install --no-deps --no-build-isolation /src && /opt/headrace/bin/python -m streams.engines.flink.parts

FROM python:3.11.13-slim-bookworm
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless gettext-base \
 && rm -rf /var/lib/apt/lists/* && useradd --system --uid 10001 --home-dir /var/lib/headrace --create-home headrace \
 && install -d -o headrace /var/lib/flink
COPY --from=flink --chown=headrace /opt/flink /opt/flink
RUN cp /opt/flink/opt/flink-python-*.jar /opt/flink/lib/
COPY --from=flink /docker-entrypoint.sh /docker-entrypoint.sh
COPY --from=build /opt/headrace /opt/headrace
COPY --from=build /opt/headrace-flink /opt/headrace-flink
COPY --from=build /src/.headrace/flink/jars /opt/headrace-jars
ENV FLINK_HOME=/opt/flink PATH=/opt/headrace/bin:/opt/flink/bin:$PATH PYTHONUNBUFFERED=1 DISABLE_JEMALLOC=true \
    HEADRACE_FLINK__ENVIRONMENT=/opt/headrace-flink HEADRACE_FLINK__JARS=/opt/headrace-jars
USER headrace
WORKDIR /var/lib/headrace
ENTRYPOINT ["/docker-entrypoint.sh"]
