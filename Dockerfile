# Countersign as an image: Python, the gateway with its locked dependencies, and SoftHSM for trying out.
#
#   docker build --tag countersign .
#   docker run --rm countersign --help
#
# The token and the embedded database are volumes. A real HSM: mount the vendor's module and its configuration, and name the module
# in COUNTERSIGN_TOKEN_URI. The PIN comes as a mounted file, named by pin-source in that URI, never as a variable.
# scripts/image-check executes this file without a container engine; it knows the instructions used here and no others.

FROM debian:bookworm-slim AS builder
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# pip stays behind: the environment that is shipped has none.
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/countersign
COPY requirements.lock requirements-build.lock ./
RUN tools/bin/pip --python /opt/countersign/bin/python install --no-cache-dir --require-hashes -r requirements.lock \
    && tools/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY hsm hsm
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/countersign/bin/python install --no-deps --no-index wheels/*.whl

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 softhsm2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/countersign --shell /usr/sbin/nologin countersign \
    && install --directory --owner countersign --group countersign --mode 700 \
        /var/lib/countersign /var/lib/countersign/token /var/lib/countersign/data
COPY softhsm-config/softhsm2.conf.template /etc/countersign/softhsm2.conf
RUN sed -i 's#@TOKEN_DIRECTORY@#/var/lib/countersign/token#' /etc/countersign/softhsm2.conf
COPY scripts/image-livez /usr/local/bin/image-livez
COPY --from=builder /opt/countersign /opt/countersign

ENV PATH=/opt/countersign/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV SOFTHSM2_CONF=/etc/countersign/softhsm2.conf
ENV COUNTERSIGN_DATA_DIR=/var/lib/countersign/data
WORKDIR /var/lib/countersign
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
VOLUME ["/var/lib/countersign/token", "/var/lib/countersign/data"]
EXPOSE 8443 8444
# `work` has no door: run it with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["image-livez"]
ENTRYPOINT ["countersign"]
CMD ["serve"]
