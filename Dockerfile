# meshd and the libraries it loads; no shell, no package manager.
#
#   docker build -t session-mesh .
#   docker run --rm -p 8080:8080 session-mesh                 (one peer, built-in MCP server)
#
# deploy/ shows it as a sidecar. tests/image.sh runs these very steps where no engine is.
FROM debian:12-slim AS build
WORKDIR /src
# First what changes least: the packages are fetched again only when their list changes.
COPY scripts/need scripts/need
RUN scripts/need build
COPY . .
RUN meson setup /build && ninja -C /build node/meshd
RUN install -D -s /build/node/meshd /image/usr/bin/meshd && \
    ldd /image/usr/bin/meshd | grep -o '/[^ ]*' | xargs cp -L --parents -t /image

FROM scratch
COPY --from=build /image/ /
# Clients come from outside. Peers do so only with a key file: --peer-listen stays on loopback.
ENV MESH_LISTEN=0.0.0.0:8080
USER 65532:65532
# clients, peers (both protocols), admin
EXPOSE 8080/tcp 7946/tcp 7946/udp 9090/tcp
HEALTHCHECK --interval=10s --timeout=4s --start-period=35s CMD ["/usr/bin/meshd", "health"]
ENTRYPOINT ["/usr/bin/meshd"]
