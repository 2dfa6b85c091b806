#!/usr/bin/env bash
# Install the Debian programs that tests need. Without them these tests are skipped with the name of
# the program; with CI=true they fail.
set -euo pipefail
packages=(
  chromium chromium-driver curl docker-compose fonts-dejavu-core openssl prometheus shellcheck
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}"
