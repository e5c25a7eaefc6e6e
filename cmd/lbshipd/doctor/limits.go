package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctls is where the kernel's limits of inotify are; spare is what the daemon needs beside its sources.
var sysctls = "/proc/sys/fs/inotify"

const (
	spareInstances = 2  // the configuration, and what it names
	spareFiles     = 64 // connections, the data directory, the admin port
)

// checkLimits compares limits of the kernel with what the configuration needs.
func checkLimits(ctx context.Context, p *patient, r *result) {
	sources := p.sources()
	if len(sources) == 0 {
		return
	}
	files, dirs := 0, 0
	journals, watcher := 0, 0 // all sources of files share one instance, each journal has its own
	for _, s := range sources {
		if s.File == nil {
			journals++
			continue
		}
		watcher = 1
		f, d, err := glob(ctx, s.File)
		if err != nil {
			r.notMade("%v", err)
		}
		files, dirs = files+len(f), dirs+d
	}
	others, all := p.instances()
	if !all {
		r.notMade("what other processes of %s have of inotify is for root to see", p.user.name)
	}
	p.compareInotify(r, "max_user_instances", journals+watcher+spareInstances, others)
	p.compareInotify(r, "max_user_watches", files+dirs+spareInstances, 0)
	p.compareFiles(r, files+len(sources)*4+spareFiles)
}

func (p *patient) compareInotify(r *result, name string, need, taken int) {
	limit, err := strconv.Atoi(strings.TrimSpace(readSmall(filepath.Join(sysctls, name))))
	if err != nil {
		r.notMade("%s cannot be read", filepath.Join(sysctls, name))
		return
	}
	if need+taken <= limit {
		return
	}
	what := fmt.Sprintf("it is %d, and the configuration needs about %d", limit, need)
	if taken > 0 {
		what += fmt.Sprintf(" beside the %d that other processes of %s have", taken, p.user.name)
	}
	raise := max(2*(need+taken), 1024)
	r.add(found("inotify-limit", "fs.inotify."+name, what,
		run("Raise it, now and at each start.", "echo 'fs.inotify.%s=%d' > /etc/sysctl.d/90-lbshipd.conf && sysctl -p /etc/sysctl.d/90-lbshipd.conf", name, raise)))
}

// instances counts what the user's processes beside the daemon have of inotify.
func (p *patient) instances() (n int, all bool) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	all = true
	for _, proc := range procs {
		st, err := statT(proc)
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if err != nil || int(st.Uid) != p.user.uid || pid == p.pid || pid == os.Getpid() {
			continue
		}
		fds, err := os.ReadDir(filepath.Join(proc, "fd"))
		if err != nil {
			all = all && !os.IsPermission(err)
			continue
		}
		for _, fd := range fds {
			if link, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil && link == "anon_inode:inotify" {
				n++
			}
		}
	}
	return n, all
}

// compareFiles compares the limit of open files with what is needed.
func (p *patient) compareFiles(r *result, need int) {
	limit, of := p.openFiles()
	if limit <= 0 || need <= limit {
		return
	}
	f := found("open-files-limit", of, fmt.Sprintf("it is %d, and the configuration needs about %d", limit, need))
	raise := fmt.Sprintf("LimitNOFILE=%d", max(2*need, 65536))
	if p.unit.is() {
		r.add(with(f, dropIn("Raise it.", "limit-files", raise)...))
		return
	}
	r.add(with(f, run("Raise it in the shell that starts the daemon.", "ulimit -n %d", max(2*need, 65536))))
}

// openFiles is the limit that counts for the daemon, and whose it is; 0 if it is not known.
func (p *patient) openFiles() (limit int, of string) {
	if p.pid > 0 {
		for line := range strings.Lines(readSmall(procDir(p.pid) + "/limits")) {
			if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
				if f := strings.Fields(rest); len(f) > 1 {
					limit, _ = strconv.Atoi(f[1]) // a program of Go's takes the hard limit
					return limit, fmt.Sprintf("open files of the process %d", p.pid)
				}
			}
		}
	}
	if text := p.unit.last("LimitNOFILE"); p.systemd() && text != "" {
		_, hard, two := strings.Cut(text, ":")
		if !two {
			hard = text
		}
		limit, _ = strconv.Atoi(hard)
		return limit, "LimitNOFILE of " + unitName
	}
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &own) != nil || own.Max > 1<<31 {
		return 0, ""
	}
	return int(own.Max), "open files (ulimit -Hn)"
}
