#!/bin/sh
# Makes the certificates of this directory with openssl; see README.md.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$work/index"
cat > "$work/ca.cnf" <<END
[ca]
default_ca = ca_default
[ca_default]
database = $work/index
new_certs_dir = $work
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
END
ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
long="-startdate 20200101000000Z -enddate 21200101000000Z"
sign() { openssl ca -batch -notext -config "$work/ca.cnf" "$@" 2> "$work/log" || { cat "$work/log"; exit 1; }; }
request() { openssl req -new -nodes -subj "/CN=$1" -keyout "$2.key" -out "$work/$2.csr" $3 2> "$work/log"; }

request localhost self "-newkey rsa:2048"
sign -selfsign -keyfile self.key -in "$work/self.csr" -out self.crt -extensions authority $long
request authority root "$ec"
sign -selfsign -keyfile root.key -in "$work/root.csr" -out root.crt -extensions authority $long
for name in localhost certuser; do
  request $name $name "$ec"
  sign -cert root.crt -keyfile root.key -in "$work/$name.csr" -out $name.crt $long
done
sign -cert root.crt -keyfile root.key -in "$work/localhost.csr" -out expired.crt -startdate 20010101000000Z -enddate 20020101000000Z
rm root.key
