package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

// settles is how long a rotation may take: until then a deleted file is nothing to worry about.
var settles = time.Minute

// deletedFile is a log file without a name that a process has open.
type deletedFile struct {
	path    string
	source  string
	pid     int
	writes  bool
	size    int64 // of the disk, in bytes
	ctime   time.Time
	written time.Time
}

// checkDeleted looks for log files that were deleted and are still open.
func checkDeleted(ctx context.Context, p *patient, r *result) {
	var files []*config.Source
	for _, s := range p.sources() {
		if s.File != nil {
			files = append(files, s)
		}
	}
	if len(files) == 0 {
		return
	}
	all, blind := openDeleted(ctx, files)
	switch {
	case ctx.Err() != nil:
		r.notMade("not all processes were looked at")
	case blind:
		r.notMade("which files the processes of other users have open is for root to see")
	}
	writers := map[string]bool{}
	for _, f := range all {
		writers[f.path] = writers[f.path] || f.writes && f.pid != p.pid
	}
	for _, f := range all {
		switch {
		case f.pid == p.pid && p.pid > 0:
			if !writers[f.path] && time.Since(f.ctime) > settles {
				r.add(p.held(f))
			}
		case f.writes && (f.written.Equal(f.ctime) || time.Since(f.ctime) > settles):
			// A write since the deletion has moved both of its times.
			r.add(inUse(f))
		}
	}
}

// openDeleted looks through what the processes have open. blind is set if some did not show it.
func openDeleted(ctx context.Context, from []*config.Source) (all []deletedFile, blind bool) {
	procs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range procs {
		if ctx.Err() != nil {
			return all, true
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			blind = blind || os.IsPermission(err)
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(dir, "/")[2])
		for _, e := range entries {
			link, err := os.Readlink(filepath.Join(dir, e.Name()))
			path, gone := strings.CutSuffix(link, " (deleted)")
			if err != nil || !gone || !strings.HasPrefix(path, "/") {
				continue
			}
			source := sourceOf(path, from)
			if source == "" {
				continue
			}
			st, err := statT(filepath.Join(dir, e.Name()))
			if err != nil || st.Nlink > 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
				continue
			}
			all = append(all, deletedFile{path, source, pid, writable(pid, e.Name()), st.Blocks * 512, time.Unix(st.Ctim.Unix()), time.Unix(st.Mtim.Unix())})
		}
	}
	return all, blind
}

// sourceOf is the source that reads, or did read, files of that path.
func sourceOf(path string, from []*config.Source) string {
	for _, s := range from {
		if excluded(path, s.File.Exclude) {
			continue
		}
		for _, pattern := range s.File.Paths {
			// A rotated file has mostly got something behind its name.
			if ok, _ := doublestar.Match(pattern, path); ok {
				return s.Name
			}
			if ok, _ := doublestar.Match(pattern+"[.-]*", path); ok {
				return s.Name
			}
		}
	}
	return ""
}

// writable reports whether a descriptor is open for writing (proc_pid_fdinfo(5)).
func writable(pid int, fd string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(value), 8, 64)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}

// inUse is the finding of a file that somebody goes on writing to.
func inUse(f deletedFile) Finding {
	name := strings.TrimSpace(readSmall(procDir(f.pid) + "/comm"))
	x := found("file-deleted-in-use", f.path, fmt.Sprintf("it was deleted, and the process %d (%s) has it open for writing; it takes %d bytes of the disk (source %q)", f.pid, name, f.size, f.source))
	if unit := unitOf(f.pid); unit != "" {
		return with(x, run("Have it open its log anew.", "systemctl reload-or-restart %s", quoted(unit)),
			say("So that it does not come again: a postrotate script that does this, or copytruncate, in its file in /etc/logrotate.d."))
	}
	return with(x, run("Have it open its log anew; many programs do so on SIGHUP, else restart it.", "kill -HUP %d", f.pid))
}

// held is the finding of a file that only the daemon has open.
func (p *patient) held(f deletedFile) Finding {
	return found("file-deleted-held", f.path, fmt.Sprintf("it was deleted, and the daemon holds it open for a target that has not had all of it; it takes %d bytes of the disk (source %q)", f.size, f.source),
		run("See which target is behind.", "lbshipd status"), say("If it cannot be mended soon: maxHeldBytes and maxHeldAge of the source bound what is held; what is given up is lost."))
}

// unitOf is the service that a process belongs to, "" if it belongs to none.
func unitOf(pid int) string {
	for part := range strings.SplitSeq(strings.TrimSpace(readSmall(procDir(pid)+"/cgroup")), "/") {
		if strings.HasSuffix(part, ".service") && !strings.HasPrefix(part, "user@") {
			return part
		}
	}
	return ""
}

// readSmall reads a file of /proc, "" if that is not possible.
func readSmall(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
