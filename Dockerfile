# The host with its plugins: built on Debian 12, run on a slim one by a user without rights.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libssl-dev make pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo xtask plugins && cargo build --release --package host

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 apogee \
    && install --directory --owner apogee /out
COPY --from=build /src/target/release/host /usr/local/bin/host
COPY --from=build \
    /src/plugins/flatten.wasm \
    /src/plugins/max-altitude.wasm \
    /src/plugins/routes.wasm \
    /src/plugins/turnstiles.wasm \
    /src/plugins/window-counts.wasm \
    /app/plugins/
COPY --from=build /src/pipelines /app/pipelines
# The embedded log (dead letters) lies beside the output.
WORKDIR /out
USER apogee
ENTRYPOINT ["host"]
CMD ["--help"]
