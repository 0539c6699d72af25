# imagen:slim, the server and its worker for engines elsewhere; no torch. Build it with:
#   docker build -t imagen:slim .
FROM python:3.12-slim AS wheels
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[serve,mcp,fleet,metrics,schedule]"

FROM python:3.12-slim
# All that imagen keeps is below its home: library, state, images, and imagen.yaml.
ENV HOME=/data IMAGEN_HOST=docker PYTHONUNBUFFERED=1
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index /wheels/*.whl \
    && useradd --uid 1000 --no-log-init --home-dir /data imagen \
    && install --directory --owner=imagen --group=imagen /data
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
# It ends within 10 seconds of SIGTERM, and leaves its jobs to their engines or to the queue.
STOPSIGNAL SIGTERM
ENTRYPOINT ["imagen"]
CMD ["serve", "--addr", ":8080"]
