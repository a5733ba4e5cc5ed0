# fc7 in a container: docs/install.md says how it is used. Photos are mounted read-only at /photos; the index is in /data.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/fc7 \
    && /opt/fc7/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt setuptools
COPY pyproject.toml README.md LICENSE cli.py ./
COPY commands/ commands/
COPY fc7/ fc7/
COPY index/ index/
COPY retrieval/ retrieval/
COPY training/ training/
COPY web/ web/
RUN /opt/fc7/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt \
    --no-build-isolation '.[cpu,web,heif,raw]'

FROM python:3.12-slim-bookworm
ARG UID=1000
RUN useradd --uid "$UID" --no-create-home --shell /usr/sbin/nologin fc7 \
    && install --directory --owner fc7 --group fc7 /data
COPY --from=build /opt/fc7 /opt/fc7
ENV PATH=/opt/fc7/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_DATA_HOME=/data \
    XDG_CACHE_HOME=/data/cache
USER ${UID}
VOLUME ["/data"]
EXPOSE 8707
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8707/api/health', timeout=9)"]
ENTRYPOINT ["fc7"]
CMD ["serve", "--host", "0.0.0.0", "--token-file", "/run/secrets/fc7_token"]
