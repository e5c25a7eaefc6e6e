package support

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func (g *gatherer) system(_ context.Context, w *writer) error {
	now := time.Now()
	zone, _ := os.Readlink("/etc/localtime")
	w.printf("time %s, zone %s\nprocessors %d\n", now.Format(time.RFC3339Nano), zone, runtime.NumCPU())
	var clock unix.Timex
	if state, err := unix.Adjtimex(&clock); err == nil {
		w.printf("clock synchronised: %v, estimated error %d us\n", state != unix.TIME_ERROR, clock.Esterror)
	}
	w.texts("/etc/os-release", "/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory",
		"/proc/net/sockstat")
	return nil
}

// sysctls are the limits that a shipper meets.
var sysctls = []string{
	"fs/inotify/max_user_instances", "fs/inotify/max_user_watches", "fs/inotify/max_queued_events", "fs/file-max", "fs/file-nr", "fs/nr_open",
	"kernel/pid_max", "kernel/threads-max", "kernel/hostname", "vm/overcommit_memory", "vm/dirty_ratio", "vm/dirty_background_ratio", "net/core/wmem_max", "net/core/rmem_max",
	"net/ipv4/tcp_wmem", "net/ipv4/tcp_retries2", "net/ipv4/tcp_keepalive_time", "net/core/somaxconn", "net/unix/max_dgram_qlen",
}

func (g *gatherer) sysctls(_ context.Context, w *writer) error {
	for _, name := range sysctls {
		text, err := readSome("/proc/sys/"+name, maxProc)
		if err != nil {
			if !os.IsNotExist(err) {
				w.miss(name, err)
			}
			continue
		}
		w.printf("%s = %s\n", strings.ReplaceAll(name, "/", "."), strings.TrimSpace(string(text)))
	}
	return nil
}

// unitFolders are where systemd looks for units, the first one first.
var unitFolders = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// units writes the units of the daemon with their drop-ins and files of variables, and
// journald's settings, which decide how long the journal keeps what a target has not taken.
func (g *gatherer) units(_ context.Context, w *writer) error {
	names := []string{g.o.Unit}
	if base, ok := strings.CutSuffix(g.o.Unit, ".service"); ok {
		names = append(names, base+".socket")
	}
	var files []string
	add := func(patterns ...string) {
		for _, pattern := range patterns {
			found, _ := filepath.Glob(g.path(pattern)) // fails for a wrong pattern only
			files = append(files, found...)
		}
	}
	for _, dir := range unitFolders {
		for _, name := range names {
			add(dir+"/"+name, dir+"/"+name+".d/*.conf")
		}
		add(dir + "/service.d/*.conf")
	}
	if len(files) == 0 {
		w.printf("systemd has no unit %s\n", g.o.Unit)
	}
	variables := map[string]bool{g.path(packagedEnv): true}
	add(packagedEnv, "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d/*.conf", "/run/systemd/journald.conf.d/*.conf", "/usr/lib/systemd/journald.conf.d/*.conf")
	for i := 0; i < len(files); i++ {
		path := files[i]
		if slices.Contains(files[:i], path) {
			continue
		}
		text, err := readSome(path, maxProc)
		if err != nil {
			w.miss(path, err)
			continue
		}
		if variables[path] {
			w.printf("== %s\n%s\n", path, variablesText(string(text)))
			continue
		}
		w.printf("== %s\n%s\n", path, settingsText(string(text)))
		// Files of variables that it names.
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, "="); strings.TrimSpace(name) == "EnvironmentFile" {
				known := len(files)
				add(strings.TrimPrefix(strings.TrimSpace(value), "-"))
				for _, file := range files[known:] {
					variables[file] = true
				}
			}
		}
	}
	return nil
}
