# For the scripts that build: which commit this is, and what its version and its time
# are. Sets commit, committed, VERSION and SOURCE_DATE_EPOCH; the last two if they are not set.
# It is run at the top of the sources.

# git archive has written the commit into the file; in a clone git is asked. Names are cut
# at the same length everywhere: git itself makes it depend on how much a clone holds.
read -r commit committed described <packaging/revision || true
if [ "${commit#\$}" != "$commit" ]; then
	commit=$(git rev-parse HEAD 2>/dev/null || true)
	committed=$(git log -1 --format=%ct 2>/dev/null || true)
	described=$(git describe --tags --dirty --abbrev=12 --match 'v[0-9]*' 2>/dev/null || true)
	changed=$(git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null | sed -n 's/.*-dirty$/.dirty/p')
fi
: "${SOURCE_DATE_EPOCH:=$committed}"
[ -n "$SOURCE_DATE_EPOCH" ] || {
	echo "these sources are of no git repository and of no git archive: set SOURCE_DATE_EPOCH and VERSION" >&2
	exit 1
}
export SOURCE_DATE_EPOCH
[ -z "$committed" ] || committed=$(date -u -d "@$committed" +%FT%TZ)

# version makes what git says one that dpkg and rpm both order rightly: no
# dashes, and what is between two releases after the first of them.
version() {
	if [ -n "$described" ]; then
		echo "$described" | sed -E 's/^v//; s/-(rc|beta|alpha)/~\1/; s/-/+/; s/-/./g'
	else
		echo "0~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S).${commit:0:12}${changed:-}"
	fi
}
: "${VERSION:=$(version)}"
