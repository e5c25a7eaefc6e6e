# Sets VERSION, if it is not set, for the scripts that build.

# version makes what git says one that dpkg and rpm both order rightly: no
# dashes, and what is between two releases after the first of them.
version() {
	local v
	if v=$(git describe --tags --dirty --match 'v[0-9]*' 2>/dev/null); then
		echo "$v" | sed -E 's/^v//; s/-(rc|beta|alpha)/~\1/; s/-/+/; s/-/./g'
	else
		echo "0~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S).$(git describe --always --dirty | tr - .)"
	fi
}
: "${VERSION:=$(version)}"
