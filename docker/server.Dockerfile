# The embedded server of rwgen. Build it from the top folder of the repository:
#   docker build -f docker/server.Dockerfile -t rwgen-server .
# Serve the models that `rwgen export` has written to ./models:
#   docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD/models:/models:ro" rwgen-server

FROM python:3.12.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/rwgen && /opt/rwgen/bin/pip install --no-cache-dir ".[serve]"

FROM python:3.12.11-slim-bookworm
COPY --from=build /opt/rwgen /opt/rwgen
RUN useradd --uid 10001 --home-dir /tmp --no-create-home rwgen
ENV PATH=/opt/rwgen/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8500 8501
# Whether it accepts connections; whether a model is ready is told by /v1/models/NAME.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8501), 3).close()"]
ENTRYPOINT ["rwgen", "serve"]
CMD ["/models", "--server", "embedded", "--host", "0.0.0.0"]
