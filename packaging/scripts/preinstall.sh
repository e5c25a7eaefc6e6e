#!/bin/sh
# Before the files come: the user whose group some of them are for.
# Called as by dpkg (install, upgrade) and as by rpm (1, 2).
set -e
case "$1" in
install | upgrade | 1 | 2)
	# Where systemd is unpacked together with this package, there is no
	# systemd-sysusers yet: what comes after the files does it then.
	if command -v systemd-sysusers >/dev/null; then
		echo 'u lbshipd - "lbshipd log shipper" /var/lib/lbshipd' |
			systemd-sysusers --replace=/usr/lib/sysusers.d/lbshipd.conf -
	fi
	;;
esac
