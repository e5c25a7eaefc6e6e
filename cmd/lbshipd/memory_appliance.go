//go:build appliance

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// forgetEvery is how often the program's pages are given back: seldom enough to
// cost nothing (each page that is used again is a minor fault, some 200 in all).
const forgetEvery = 2 * time.Second

// mostProcs is how many processors are used at a time: each has buffers of its own.
const mostProcs = 2

// startSparing is done before anything else.
func startSparing() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > mostProcs {
		runtime.GOMAXPROCS(mostProcs)
	}
	forgetPages()
}

// forgetPages gives back the pages of the program that are mapped: those that are
// used are mapped again, from the page cache, and the others, which only starting,
// a reload or a new connection needs, are not.
// The kernel would take them back by itself, but only once memory is scarce.
func forgetPages() {
	for _, m := range programMaps() {
		unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED) // in vain: they stay
	}
}

// keepSparing does so until ctx ends.
func keepSparing(ctx context.Context) {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		forgetPages()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

type mapping struct{ from, to uintptr }

// programMaps returns where this program's code and constants are mapped; none
// if that cannot be told. What has pages that were changed is left out, as they would be what is in the
// file again: the addresses that a loader has put into a position-independent program.
// It is looked up once: where a program is does not change.
var programMaps = sync.OnceValue(func() (found []mapping) {
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	var m mapping
	ours := false
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line) // address, permissions, offset, device, inode, path, then lines of figures: proc(5)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			_, err := fmt.Sscanf(f[0], "%x-%x", &m.from, &m.to)
			ours = err == nil && len(f) == 6 && f[5] == exe && (f[1] == "r-xp" || f[1] == "r--p")
		case ours && len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0":
			found = append(found, m)
		}
	}
	return found
})
