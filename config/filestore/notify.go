package filestore

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// maxLinks bounds the symbolic links of one path, as the kernel does.
const maxLinks = 40

// notifier says through inotify which file names something happened to. It
// watches folders, never files: a file that is replaced would take its watch
// with it.
type notifier struct {
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil: polling has to do
	names   map[string]bool   // file and link names whose change matters
	refused map[string]bool   // folders that could not be watched; said once
	out     chan string
	done    chan struct{}
}

func newNotifier(log *slog.Logger) *notifier {
	n := &notifier{log: log, refused: map[string]bool{}, done: make(chan struct{})}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("changes of the configuration are noticed by looking once a second: inotify is not available", "error", err)
		return n
	}
	n.watcher, n.out = watcher, make(chan string)
	go n.forward()
	return n
}

// forward turns what inotify says into names; "" stands for "anything", after
// an overflow of its queue.
func (n *notifier) forward() {
	for {
		var name string
		select {
		case <-n.done:
			return
		case event, ok := <-n.watcher.Events:
			if !ok {
				return
			}
			name = event.Name
		case _, ok := <-n.watcher.Errors:
			if !ok {
				return
			}
		}
		select {
		case n.out <- name:
		case <-n.done:
			return
		}
	}
}

func (n *notifier) close() {
	close(n.done)
	if n.watcher != nil {
		n.watcher.Close() // nothing can be done about an error, and nothing is lost by it
	}
}

// events yields the names of what has changed, forever nothing if inotify is
// not available.
func (n *notifier) events() <-chan string { return n.out }

// interesting reports whether a name is one of those that matter.
func (n *notifier) interesting(name string) bool { return name == "" || n.names[name] }

// watch makes paths what is watched. It reports whether a folder was added,
// in which something may have happened just before.
func (n *notifier) watch(paths []string) (added bool) {
	if n.watcher == nil {
		return false
	}
	n.names = make(map[string]bool, 2*len(paths))
	for _, path := range paths {
		for _, name := range chain(path) {
			n.names[name] = true
		}
	}
	stale := map[string]bool{}
	for _, dir := range n.watcher.WatchList() {
		stale[dir] = true
	}
	wanted := make(map[string]bool, len(stale))
	for name := range n.names {
		wanted[filepath.Dir(name)] = true
	}
	for dir := range wanted {
		if stale[dir] {
			delete(stale, dir)
			continue
		}
		added = n.add(dir) || added
	}
	for dir := range stale {
		_ = n.watcher.Remove(dir) // it may be gone already
	}
	return added
}

func (n *notifier) add(dir string) bool {
	if err := n.watcher.Add(dir); err != nil {
		if !n.refused[dir] {
			n.refused[dir] = true
			n.log.Warn("changes of the configuration in this folder are noticed by looking once a second", "folder", dir, "error", err)
		}
		return false
	}
	delete(n.refused, dir)
	return true
}

// chain returns the names on which the contents of path depend: every symbolic
// link on the way, and the file at the end of it, or the first thing on the
// way that is not there.
func chain(path string) (names []string) {
	done, rest := "/", strings.Split(strings.TrimPrefix(filepath.Clean(path), "/"), "/")
	for links := 0; len(rest) > 0; {
		step := filepath.Join(done, rest[0])
		info, err := os.Lstat(step)
		if err != nil {
			return append(names, step)
		}
		rest = rest[1:]
		if info.Mode()&os.ModeSymlink == 0 {
			done = step
			continue
		}
		names = append(names, step)
		target, err := os.Readlink(step)
		if links++; err != nil || links > maxLinks {
			return names
		}
		if filepath.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	return append(names, done)
}
