# A small image of the command `engine`:
#   docker build -t engine .
#   docker run --rm -v "$PWD:/data" --memory 600m engine run ratings.csv --memory 512MiB
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && \
    python -m pip wheel --no-cache-dir --wheel-dir /wheels '.[report,serve,hnsw,s3]'

FROM python:3.12-slim
COPY --from=build /wheels /wheels
# Each package is there in one version.
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir --no-index --find-links=/wheels 'recsys-engine[report,serve,hnsw,s3]' && \
    rm -r /wheels && useradd --no-log-init --create-home --uid 1000 engine
USER 1000
WORKDIR /data
ENTRYPOINT ["engine"]
CMD ["--help"]
