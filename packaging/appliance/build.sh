#!/usr/bin/env bash
# Builds what an appliance's image gets: build.sh DIR [ARCH...]; DIR then holds for
# each architecture (amd64, arm64) a tarball to be unpacked over the image's root, a
# CycloneDX bill of materials, and SHA256SUMS.appliance.
# The same commit gives the same bytes, wherever and whenever it is built.
# VERSION and SOURCE_DATE_EPOCH as in ../build.sh.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- amd64 arm64
cd "$(dirname "$0")/../.."
: "${GO:=go}"
. packaging/version.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$GO" build -trimpath -buildvcs=false -o "$work/sbom" ./packaging/sbom

# What is not on a record's way is not inlined: a megabyte less to be mapped.
small=(-gcflags=all=-l)
for hot in 'runtime/...' 'internal/...' 'crypto/...' 'github.com/klauspost/...' \
	github.com/lbshipd/lbshipd/{record,parse,sources/journald,sinks/rsyslog}; do
	small+=("-gcflags=$hot=")
done

for arch in "$@"; do
	root=$work/$arch name=lbshipd-appliance_${VERSION}_$arch
	units=$root/usr/lib/systemd/system
	mkdir -p "$root"/{usr/bin,etc/lbshipd} "$units/multi-user.target.wants"
	# HTTP/2 is for nobody here: Loki and the admin port speak HTTP/1.1.
	CGO_ENABLED=0 GOARCH=$arch "$GO" build -trimpath -buildvcs=false -tags appliance,nethttpomithttp2 "${small[@]}" \
		-ldflags "-s -w -X main.version=$VERSION -X main.commit=$commit -X main.commitDate=$committed" -o "$root/usr/bin/lbshipd" ./cmd/lbshipd
	mkdir -m 700 "$root/etc/lbshipd/credentials"
	cp packaging/appliance/lbshipd.service "$units"
	ln -s ../lbshipd.service "$units/multi-user.target.wants/"
	cp packaging/appliance/lbshipd.yaml "$root/etc/lbshipd"
	chmod 644 "$units/lbshipd.service" "$root/etc/lbshipd/lbshipd.yaml"
	tar -C "$root" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -c etc usr | gzip -9n >"$out/$name.tar.gz"
	"$work/sbom" -version "$VERSION" -commit "$commit" -date "$committed" -time "$SOURCE_DATE_EPOCH" "$root/usr/bin/lbshipd" >"$out/$name.cdx.json"
done
cd "$out"
sha256sum -- lbshipd-appliance_"$VERSION"_* >SHA256SUMS.appliance
cat SHA256SUMS.appliance
