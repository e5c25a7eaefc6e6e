package support

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of what is listed of a process.
const (
	maxThreads = 200
	maxOpen    = 5000
)

var errNoDaemon = errors.New("no daemon was found")

// texts writes files one after the other, each under its name. Those that are not there are no loss.
func (w *writer) texts(paths ...string) {
	for _, path := range paths {
		text, err := readSome(path, maxProc)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			w.miss(path, err)
			continue
		}
		w.printf("== %s\n%s\n", path, strings.TrimRight(string(text), "\n"))
	}
}

func (g *gatherer) process(_ context.Context, w *writer) error {
	d := g.daemon
	if d == nil {
		return errNoDaemon
	}
	w.texts(d.proc("status"), d.proc("smaps_rollup"), d.proc("io"), d.proc("oom_score"), d.proc("oom_score_adj"))
	tasks, err := os.ReadDir(d.proc("task"))
	w.miss("its threads", err)
	for _, t := range tasks[:min(len(tasks), maxThreads)] {
		// What hangs in the kernel is in state D, and wchan says where.
		state := "?"
		text, _ := readSome(d.proc("task", t.Name(), "status"), maxProc)
		for line := range strings.Lines(string(text)) {
			if s, ok := strings.CutPrefix(line, "State:"); ok {
				state = strings.TrimSpace(s)
			}
		}
		in, _ := readSome(d.proc("task", t.Name(), "wchan"), maxProc)
		w.printf("thread %s: %s %s\n", t.Name(), state, in)
	}
	return nil
}

func (g *gatherer) limits(_ context.Context, w *writer) error {
	if g.daemon == nil {
		return errNoDaemon
	}
	w.texts(g.daemon.proc("limits"))
	return nil
}

// openFiles writes what the daemon has open: names, and how much of what kind.
func (g *gatherer) openFiles(_ context.Context, w *writer) error {
	if g.daemon == nil {
		return errNoDaemon
	}
	dir := g.daemon.proc("fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	w.printf("%d open\n", len(entries))
	for _, e := range entries[:min(len(entries), maxOpen)] {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		w.printf("%s %s\n", e.Name(), to)
	}
	if len(entries) > maxOpen {
		return fmt.Errorf("only the first %d are listed", maxOpen)
	}
	return nil
}

// cgroup writes what the daemon's control group has used and may use, of version 2 and 1.
func (g *gatherer) cgroup(_ context.Context, w *writer) error {
	if g.daemon == nil {
		return errNoDaemon
	}
	path := g.daemon.proc("cgroup")
	w.texts(path)
	text, err := readSome(path, maxProc)
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0":
			for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				w.group(filepath.Join(root, f[2]), "memory.current", "memory.peak", "memory.high", "memory.max", "memory.swap.current", "memory.events", "memory.stat",
					"cpu.max", "cpu.stat", "io.stat", "pids.current", "pids.max", "cgroup.events")
			}
		case f[1] == "memory":
			w.group(filepath.Join("/sys/fs/cgroup/memory", f[2]), "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.failcnt")
		}
	}
	return err
}

func (w *writer) group(dir string, names ...string) {
	for _, name := range names {
		w.texts(filepath.Join(dir, name))
	}
}
