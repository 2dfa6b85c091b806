#!/usr/bin/env bash
# Generate export/wire/*_pb2.py and their type stubs from the .proto files.
#
# Uses the compiler of protobuf 5 in a separate environment: the runtimes 5 to 7 load its code, and
# TensorFlow pins a newer runtime than the package of the compiler allows.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(command -v python3.11 || command -v python3)}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'grpcio-tools==1.71.2' 'protobuf>=5.29,<6' 'setuptools<81'
"$work/venv/bin/python" -m grpc_tools.protoc -I . \
  --python_out=. --pyi_out=. export/wire/tensor.proto export/wire/serving.proto \
  export/wire/packed.proto
