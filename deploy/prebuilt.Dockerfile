# Packs a static binary that is already built, offline and with any builder:
#
#   docker build --file deploy/prebuilt.Dockerfile --platform linux/arm64 DIRECTORY_OF_THE_BINARY
FROM scratch
COPY pilotfish /pilotfish
# The rest is the same in Dockerfile; a test compares both files.
LABEL org.opencontainers.image.title="Pilotfish" \
    org.opencontainers.image.description="Keeps the containers of a Raspberry Pi up to date, and never loses one" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0"
# It listens only on loopback. To publish the port, also set PILOTFISH_LISTEN_ADDRESS=0.0.0.0:9788.
EXPOSE 9788
VOLUME /var/lib/pilotfish
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s --retries=3 CMD ["/pilotfish", "healthcheck"]
ENTRYPOINT ["/pilotfish"]
CMD ["run"]
