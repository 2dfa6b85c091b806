#!/usr/bin/env bash
# Healthy (exit code 0) if each model of the config has an AVAILABLE version.
#
#   health_check.sh [MODELS_CONFIG [REST_PORT]]
#
# The status route answers 200 also for a version that failed to load, so the state is read. The
# script runs in the server's container, which has bash and grep, but neither curl nor Python.
set -euo pipefail
config=${1:-/models/models.config}
port=${2:-8501}
mapfile -t models < <(grep -oE '\bname *: *"[^"]+"' "$config" | cut -d '"' -f 2)
if [ ${#models[@]} -eq 0 ]; then
  echo "$config names no model"
  exit 1
fi
for model in "${models[@]}"; do
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET /v1/models/%s HTTP/1.0\r\n\r\n' "$model" >&3
  if ! grep -q '"state": "AVAILABLE"' <&3; then
    echo "$model: no version is AVAILABLE"
    exit 1
  fi
  exec 3>&-
done
