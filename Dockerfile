FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# What --version says; the image's build has no repository to ask.
ARG COMMIT=
RUN cargo build --release --locked

FROM build AS build-simulator
RUN cargo build --release --locked --package simulator --bin simulator

# Stand-ins for the neighbours, for docker-compose.yml: --target simulator.
FROM debian:bookworm-slim AS simulator
COPY --from=build-simulator /build/target/release/simulator /usr/local/bin/
USER 10001:10001
ENTRYPOINT ["simulator"]

# The service is the last stage, the one that is built by default.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /srv --shell /usr/sbin/nologin payment-callback \
    && install --directory --owner=10001 --group=10001 /srv/data
COPY --from=build /build/target/release/payment-callback /usr/local/bin/

# By number, so that an orchestrator can tell it is not root. The embedded store is in /srv/data.
USER 10001:10001
WORKDIR /srv
ENV BIND_ADDRESS=0.0.0.0:8080
EXPOSE 8080
# bash speaks TCP; the image has no curl.
HEALTHCHECK --interval=10s --timeout=6s --start-period=40s CMD ["bash", "-c", "\
    exec 3<>/dev/tcp/127.0.0.1/${BIND_ADDRESS##*:} \
    && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 \
    && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["payment-callback"]
CMD ["serve"]
