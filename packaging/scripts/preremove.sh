#!/bin/sh
# Before the files go. Called as by dpkg (remove, upgrade, ...) and as by rpm
# (0: the last, 1: an upgrade). In an upgrade the daemon runs on until the new
# one is there.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl stop lbshipd.socket lbshipd.service || true
	fi
	if ! command -v deb-systemd-helper >/dev/null; then
		systemctl --no-reload disable lbshipd.service lbshipd.socket >/dev/null 2>&1 || true
	fi
	;;
esac
