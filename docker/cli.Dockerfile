# The rwgen command line. Build it from the top folder of the repository:
#   docker build -f docker/cli.Dockerfile -t rwgen .
# Run it on the current folder, without network and as the user who calls it:
#   docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD:/work" rwgen style photo.jpg painting.jpg

FROM python:3.12.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/rwgen && /opt/rwgen/bin/pip install --no-cache-dir ".[heif]"

FROM python:3.12.11-slim-bookworm
COPY --from=build /opt/rwgen /opt/rwgen
# A home that any user can write to: Keras and Matplotlib keep settings there.
RUN useradd --uid 10001 --home-dir /tmp --no-create-home rwgen
ENV PATH=/opt/rwgen/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
WORKDIR /work
USER 10001
ENTRYPOINT ["rwgen"]
CMD ["--help"]
