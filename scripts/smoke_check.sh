#!/usr/bin/env bash
# Check a model from training to answers, or a running server. From any folder:
#
#   scripts/smoke_check.sh                                  with a small model and a server of its own
#   scripts/smoke_check.sh HOST GRPC_PORT REST_PORT BASE    a running server, against the folder BASE
#
# Prints one line per check. Exit code 0: all passed; 3: a check failed; 2: usage error, or server
# unreachable.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
python=$root/.venv/bin/python
# -P: a folder called serving where the caller stands is not what is meant.
if [ ! -x "$python" ]; then
  python=python3
  "$python" -P -c 'import serving.smoke_check' 2>/dev/null || {
    echo "error: python3 lacks what tfkmeans needs; make setup in $root installs it" >&2
    exit 2
  }
fi
exec "$python" -P -m serving.smoke_check "$@"
