#!/usr/bin/env bash
# Write a certificate authority, a server certificate and the ssl.config of TensorFlow Serving, for
# tests of TLS: valid for a year, with the key of the authority in the same folder. In production
# use the certificates of your authority, and write ssl.config in the same format.
#
#   docker/make_certificates.sh DIR [NAME...]      NAME: how clients call the server; by default
#                                                  localhost, 127.0.0.1 and serving-tls
#
# ssl.config contains the server's key. Run as root, this script gives the file to the server's user
# (TFS_USER, as in compose.yaml); otherwise start the server as the current user.
#
# Clients need DIR/ca.pem: tfkmeans probe --server localhost:8510 --tls-ca DIR/ca.pem ...
set -euo pipefail
if [ $# -eq 0 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
  sed -n '2,13s/^# \{0,1\}//p' "$0"
  [ $# -gt 0 ] && exit 0
  exit 2
fi
folder=$1
shift
[ $# -gt 0 ] || set -- localhost 127.0.0.1 serving-tls
if [ -e "$folder/ssl.config" ]; then
  echo "error: $folder/ssl.config exists already; name another folder" >&2
  exit 2
fi
names=
for name in "$@"; do
  case $name in
    *[!0-9.]*) names+=${names:+,}DNS:$name ;;
    *) names+=${names:+,}IP:$name ;;
  esac
done
# No other user can enter the folder; the server's user reads its ssl.config through a mount.
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -sha256 \
  -subj '/CN=tfkmeans test authority' -keyout ca-key.pem -out ca.pem \
  -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign 2>openssl.log ||
  { cat openssl.log >&2; exit 1; }
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
  -subj "/CN=$1" -keyout server-key.pem -out server.csr 2>openssl.log ||
  { cat openssl.log >&2; exit 1; }
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 -sha256 \
  -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") -out server.pem \
  2>openssl.log || { cat openssl.log >&2; exit 1; }
rm -f server.csr openssl.log ca.srl
# A string in text format ends at the line end: one string per line, which are concatenated.
quoted() { sed 's/.*/  "&\\n"/' "$1"; }
{
  echo 'server_key:'
  quoted server-key.pem
  echo 'server_cert:'
  quoted server.pem
} >ssl.config
chmod 600 ssl.config
echo "wrote $PWD/ssl.config for $*; clients trust $PWD/ca.pem"
server=${TFS_USER:-65534:65534}
if [ "$(id -u):$(id -g)" != "$server" ] && ! chown "$server" ssl.config 2>/dev/null; then
  echo "only this user can read it: start the server as TFS_USER=$(id -u):$(id -g)"
fi
