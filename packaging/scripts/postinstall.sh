#!/bin/sh
# After the files have come. Called as by dpkg (configure OLD-VERSION, abort-*)
# and as by rpm (1: the first, 2: an upgrade).
set -e
dropins=/usr/lib/systemd/system/lbshipd.service.d

systemd_runs() { [ -d /run/systemd/system ]; }

# Type=notify-reload from the version on that knows it.
choose_type() {
	version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
	rm -f "$dropins/10-notify-reload.conf"
	if [ "${version:-0}" -ge 253 ]; then
		mkdir -p "$dropins"
		ln -s /usr/share/lbshipd/notify-reload.conf "$dropins/10-notify-reload.conf"
	fi
}

# Enabled as the distribution's presets say, and not again if an administrator
# has disabled it. It is not started: there is no target yet.
enable_first() {
	if command -v deb-systemd-helper >/dev/null; then
		if deb-systemd-helper --quiet was-enabled lbshipd.service; then
			deb-systemd-helper enable lbshipd.service >/dev/null
		else
			deb-systemd-helper update-state lbshipd.service >/dev/null
		fi
	elif [ "$1" = 1 ]; then
		systemctl --no-reload preset lbshipd.service >/dev/null 2>&1 || true
	fi
}

# A running daemon becomes the new one: it sends what is queued, saves its
# positions and goes on from there.
restart_running() {
	systemctl is-active --quiet lbshipd.service || return 0
	if command -v deb-systemd-invoke >/dev/null; then
		deb-systemd-invoke restart lbshipd.service >/dev/null || true # policy-rc.d is asked
	else
		systemctl try-restart lbshipd.service || true
	fi
}

case "$1" in
configure | 1 | 2)
	systemd-sysusers lbshipd.conf
	systemd-tmpfiles --create lbshipd.conf
	choose_type
	enable_first "$1"
	if systemd_runs; then
		systemctl daemon-reload || true
		restart_running
	fi
	;;
abort-upgrade | abort-remove | abort-deconfigure)
	if systemd_runs && systemctl is-enabled --quiet lbshipd.service; then
		systemctl start lbshipd.service || true
	fi
	;;
esac
