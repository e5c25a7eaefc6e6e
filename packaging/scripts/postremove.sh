#!/bin/sh
# After the files have gone. Called as by dpkg (remove, purge, upgrade, ...)
# and as by rpm (0: the last, 1: an upgrade).
# The state (positions, spools, dead letters) goes with a purge only; rpm has none.
set -e
case "$1" in
remove | purge | 0)
	rm -f /usr/lib/systemd/system/lbshipd.service.d/10-notify-reload.conf
	rmdir /usr/lib/systemd/system/lbshipd.service.d 2>/dev/null || true
	if [ "$1" = purge ] && command -v deb-systemd-helper >/dev/null; then
		deb-systemd-helper purge lbshipd.service lbshipd.socket >/dev/null || true
	fi
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || true
	fi
	;;
esac
if [ "$1" = purge ]; then
	rm -rf /var/lib/lbshipd
fi
