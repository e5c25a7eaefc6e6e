#!/usr/bin/env bash
# Builds the packages: build.sh DIR [ARCH...]; DIR then holds a deb, an rpm and a
# CycloneDX SBOM for each architecture (amd64, arm64), and SHA256SUMS.
# The same commit gives the same bytes, wherever and whenever it is built: in a
# clone, a worktree, or what git archive has made of it.
#   VERSION            that of the packages (default: made from git describe)
#   SOURCE_DATE_EPOCH  the time in them (default: that of the commit)
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- amd64 arm64
cd "$(dirname "$0")/.."
: "${GO:=go}"
. packaging/version.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compiler records the commit in a clone only, not in a worktree or a tarball: it
# is told here, so that the bytes are the same.
binary() { # ARCH FILE
	CGO_ENABLED=0 GOARCH=$1 "$GO" build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION -X main.commit=$commit -X main.commitDate=$committed" -o "$2" ./cmd/lbshipd
}
own=$work/lbshipd # runs here: for the manual pages and completions
binary "$("$GO" env GOHOSTARCH)" "$own"
"$GO" -C packaging/nfpm build -trimpath -o "$work/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
"$GO" build -trimpath -buildvcs=false -o "$work/sbom" ./packaging/sbom

# tree lays out DIR as it is to be on the machine, but for what has owners of its own.
tree() { # ARCH DIR
	local share=$2/usr/share doc=$2/usr/share/doc/lbshipd units=$2/usr/lib/systemd/system
	mkdir -p "$2"/usr/{bin,lib/{sysusers.d,tmpfiles.d}} "$units" "$doc/examples" "$share/lbshipd" "$share/man/man1" \
		"$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d" "$share/lintian/overrides"
	binary "$1" "$2/usr/bin/lbshipd"
	cp packaging/systemd/lbshipd.{service,socket} "$units"
	cp packaging/systemd/lbshipd.sysusers "$2/usr/lib/sysusers.d/lbshipd.conf"
	cp packaging/systemd/lbshipd.tmpfiles "$2/usr/lib/tmpfiles.d/lbshipd.conf"
	cp packaging/systemd/notify-reload.conf "$share/lbshipd/"
	mkdir "$share/lbshipd"/{grafana,prometheus}
	cp packaging/grafana/*.json "$share/lbshipd/grafana/"
	cp packaging/prometheus/*.yml "$share/lbshipd/prometheus/"
	"$own" man "$share/man/man1" >/dev/null
	"$own" completion bash >"$share/bash-completion/completions/lbshipd"
	"$own" completion zsh >"$share/zsh/vendor-completions/_lbshipd"
	"$own" completion fish >"$share/fish/vendor_completions.d/lbshipd.fish"
	cp docs/{install,appliance,configuration,command-line,reliability,metrics,monitoring,formats,operations,troubleshooting,security,upgrade,doctor,control-plane,rest,scale,design}.md packaging/copyright "$doc"
	cp packaging/examples/*.conf docs/examples/*.yaml "$doc/examples"
	cp packaging/lintian-overrides "$share/lintian/overrides/lbshipd"
	cp CHANGELOG.md "$doc/changelog"
	changelog >"$doc/changelog.Debian"
	gzip -9n "$share"/man/man1/* "$doc"/changelog*
	find "$2" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
	chmod 755 "$2/usr/bin/lbshipd"
}

changelog() {
	printf 'lbshipd (%s) stable; urgency=medium\n\n  * See changelog.gz.\n\n -- lbshipd maintainers <maintainers@lbshipd.invalid>  %s\n' \
		"$VERSION" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

for arch in "$@"; do
	stage=$work/$arch
	mkdir "$stage"
	cp -r packaging/scripts packaging/lbshipd.yaml packaging/daemon.env "$stage"
	tree "$arch" "$stage/tree"
	find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	sed "s/@ARCH@/$arch/; s/@VERSION@/$VERSION/; s/@MTIME@/$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)/" packaging/nfpm.yaml >"$stage/nfpm.yaml"
	for kind in deb rpm; do
		(cd "$stage" && "$work/nfpm" package -f nfpm.yaml -p $kind -t "$out" >/dev/null)
	done
	"$work/sbom" -version "$VERSION" -commit "$commit" -date "$committed" -time "$SOURCE_DATE_EPOCH" "$stage/tree/usr/bin/lbshipd" >"$out/lbshipd_${VERSION}_$arch.cdx.json"
done
cd "$out"
sha256sum -- *"$VERSION"*.deb *"$VERSION"*.rpm *"$VERSION"*.cdx.json >SHA256SUMS
cat SHA256SUMS
