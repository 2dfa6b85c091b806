#!/usr/bin/env bash
# Build an image of TensorFlow Serving with one version of a model.
#
#   docker/bake.sh BASE VERSION TAG [OPTION...]
#   docker/bake.sh models/customers 3 registry.example/customers:3
#   docker/bake.sh models/customers 3 customers:3 --build-arg TFS_TAG=2.19.1
#
# The version has the label stable in it. OPTIONs are passed to docker build; DOCKER names another
# program than docker. With --context DIR instead of TAG, only the build context is prepared.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0"
  exit 2
fi
here=$(dirname "$(readlink -f "$0")")
base=$1 version=$2 tag=$3
shift 3
name=$(basename "$(readlink -m "$base")")
if [ ! -f "$base/$version/saved_model.pb" ]; then
  echo "error: $base/$version holds no SavedModel; tfkmeans versions $base shows what there is" >&2
  exit 2
fi
if [ "$tag" = --context ]; then
  [ $# -eq 1 ] || { echo "error: --context takes one folder" >&2; exit 2; }
  context=$1
  mkdir "$context"
else
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
fi
mkdir -p "$context/models/$name"
cp -R "$base/$version" "$context/models/$name/$version"
cp -R "$here/config" "$here/health_check.sh" "$context"
cat >"$context/models/models.config" <<CONFIG
model_config_list {
  config {
    name: "$name"
    base_path: "/models/$name"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: $version } }
    version_labels { key: "stable" value: $version }
  }
}
CONFIG
# The user of the server may differ from the publisher.
chmod -R a+rX "$context"
[ "$tag" = --context ] || "${DOCKER:-docker}" build -f "$here/serving.Dockerfile" -t "$tag" "$@" "$context"
