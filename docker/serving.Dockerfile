# One version of a model and the server of it in an image, for deployments that change by their
# image alone. bake.sh, beside this file, lays out the folder that is built from.
ARG TFS_IMAGE=tensorflow/serving
ARG TFS_TAG=2.20.0

FROM ${TFS_IMAGE}:${TFS_TAG}
COPY models /models
COPY config /config
COPY health_check.sh /health_check.sh
USER 65534:65534
EXPOSE 8500 8501
# Process 1 is ended by no SIGTERM that it has not asked for, and this server asks for none: without
# an init it would be killed ten seconds later. It writes nothing, so that it may be killed at once.
STOPSIGNAL SIGKILL
ENTRYPOINT ["tensorflow_model_server"]
# As in compose.yaml, which says why; what is baked does not change, so that nothing is polled.
CMD ["--port=8500", \
     "--rest_api_port=8501", \
     "--model_config_file=/models/models.config", \
     "--file_system_poll_wait_seconds=0", \
     "--allow_version_labels_for_unavailable_models=true", \
     "--max_num_load_retries=1", \
     "--load_retry_interval_micros=1000000", \
     "--grpc_max_threads=512", \
     "--monitoring_config_file=/config/monitoring.config"]
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["bash", "/health_check.sh"]
