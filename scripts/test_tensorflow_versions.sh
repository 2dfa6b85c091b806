#!/usr/bin/env bash
# Run the tests that use TensorFlow with several of its versions, by default the lowest and the
# highest supported version. Each has its own environment in build/, with the newest compatible
# versions of all other packages.
#
#   scripts/test_tensorflow_versions.sh [VERSION...]        as in 2.19 2.21
#
# Exit code 0 if all passed, else 1. docs/support.md has the results.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 2.19 2.21
tests=(tests/kmeans_module tests/export tests/conformance tests/serving/embedded tests/serving/batch)
packages='tensorflow|tensorflow-serving-api|protobuf|numpy|grpcio|keras|h5py'
uv=$PWD/.venv/bin/uv
failed=()
for version in "$@"; do
  environment=build/tensorflow-$version
  [ -x "$environment/bin/python" ] || .venv/bin/python -m venv "$environment"
  "$uv" pip install --quiet --python "$environment/bin/python" --editable '.[all,dev]' \
    "tensorflow==$version.*" "tensorflow-serving-api==$version.*"
  echo "== TensorFlow $version"
  "$uv" pip freeze --quiet --python "$environment/bin/python" | grep -E "^($packages)=="
  "$environment/bin/python" -m pytest -n 2 --dist loadfile "${tests[@]}" || failed+=("$version")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed with TensorFlow ${failed[*]}" >&2
  exit 1
fi
