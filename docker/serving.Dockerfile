# An image with a server and one version of a model, for deployments that change only the image.
# bake.sh in this folder prepares the build context.
ARG TFS_IMAGE=tensorflow/serving
ARG TFS_TAG=2.20.0

FROM ${TFS_IMAGE}:${TFS_TAG}
COPY models /models
COPY config /config
COPY health_check.sh /health_check.sh
USER 65534:65534
EXPOSE 8500 8501
# Process 1 ignores SIGTERM without a handler, and this server has none: without an init it would be
# killed after ten seconds. It writes nothing, so it can be killed at once.
STOPSIGNAL SIGKILL
ENTRYPOINT ["tensorflow_model_server"]
# See compose.yaml for the reasons; the files in the image never change, so nothing is polled.
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
