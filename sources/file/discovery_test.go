package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

func TestBadPatternsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ paths, exclude []string }{
		{[]string{"/var/log/[a"}, nil},
		{[]string{"/var/log/{a,b"}, nil},
		{[]string{"relative/*.log"}, nil},
		{[]string{"/var/log/"}, nil},
		{[]string{"/var/../etc/x"}, nil},
		{[]string{"/ok"}, []string{"/var/log/[b"}},
		{[]string{"/ok"}, []string{"log/x"}},
	} {
		_, err := New(&config.Source{Name: "logs", File: &config.FileSource{Paths: c.paths, Exclude: c.exclude}}, sources.Deps{})
		bad := append(c.paths, c.exclude...)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad[len(bad)-1])) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := New(&config.Source{Name: "logs", File: &config.FileSource{}}, sources.Deps{}); err == nil {
		t.Error("no paths were taken")
	}
}

func TestDescend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, dir string
		link, want   bool
	}{
		{"/var/log/*.log", "/var", false, true},
		{"/var/log/*.log", "/var/log", true, true},
		{"/var/log/*.log", "/var/log/a", false, false},
		{"/var/log/*/x.log", "/var/log/a", true, true},
		{"/var/log/*/x.log", "/var/log/a/b", false, false},
		{"/var/log/a*/x.log", "/var/log/b", false, false},
		{"/var/log/**/x.log", "/var/log/a/b/c", false, true},
		{"/var/log/**/x.log", "/var/log/a", true, false},
		{"/var/{a/b,c}/x.log", "/var/a", false, true},
		{"/*", "/var", false, false},
	} {
		g, err := newGlobs([]string{c.pattern}, nil)
		must(t, err)
		if got := g.descend(c.dir, c.link); got != c.want {
			t.Errorf("%s into %s (link %v): %v", c.pattern, c.dir, c.link, got)
		}
	}
}

// Directories and files that come later are found, with and without inotify.
func TestLaterDirectories(t *testing.T) {
	t.Parallel()
	for _, poll := range []bool{false, true} {
		t.Run(fmt.Sprint("polling ", poll), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := newRig(t, filepath.Join(dir, "missing/deep/**/*.log"))
			r.cfg.File.Exclude = []string{"*.tmp.log", filepath.Join(dir, "**/secret/*")}
			tune := r.tune
			r.tune = func(s *source) {
				tune(s)
				s.noInotify = poll
				if !poll {
					s.rescan = time.Hour // inotify alone
				}
			}
			r.start()
			time.Sleep(20 * time.Millisecond) // either way is right; mostly after the first walk
			write(t, filepath.Join(dir, "missing/deep/a.log"), "a\n")
			r.expect("a")
			write(t, filepath.Join(dir, "missing/deep/x/y/b.tmp.log"), "no\n")
			write(t, filepath.Join(dir, "missing/deep/x/secret/b.log"), "no\n")
			write(t, filepath.Join(dir, "missing/deep/x/y/b.log"), "b\n")
			r.expect("a", "b")
			must(t, os.RemoveAll(filepath.Join(dir, "missing")))
			write(t, filepath.Join(dir, "missing/deep/c.log"), "c\n")
			r.expect("a", "b", "c")
			// A directory that is moved in with files in it.
			write(t, filepath.Join(dir, "elsewhere/d.log"), "d\n")
			must(t, os.Rename(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "missing/deep/z")))
			r.expect("a", "b", "c", "d")
		})
	}
}

// A directory that is removed while the inputs hold its files open sends no
// IN_DELETE_SELF, and is found all the same when it is made again.
func TestDirectoryMadeAgainWhileItsFilesAreHeld(t *testing.T) {
	t.Parallel()
	for _, removed := range []string{"logs/app", "logs"} {
		t.Run(removed, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "logs/app/a.log"), "a\n")
			r := newRig(t, filepath.Join(dir, "logs/app/*.log"))
			tune := r.tune
			r.tune = func(s *source) { tune(s); s.rescan = time.Hour } // inotify alone
			r.start()
			r.expect("a")
			must(t, os.RemoveAll(filepath.Join(dir, removed)))
			write(t, filepath.Join(dir, "logs/app/b.log"), "b\n")
			r.expect("a", "b")
		})
	}
}

func TestSymlinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pods, links := filepath.Join(dir, "pods"), filepath.Join(dir, "containers")
	write(t, filepath.Join(pods, "c1/0.log"), "one\n")
	must(t, os.Mkdir(links, 0o755))
	link := filepath.Join(links, "web.log")
	must(t, os.Symlink(filepath.Join(pods, "c1/0.log"), link))
	must(t, os.Symlink("web.log", filepath.Join(links, "same.log")))
	must(t, os.Symlink("nowhere", filepath.Join(links, "dangling.log")))
	must(t, os.Symlink("loop.log", filepath.Join(links, "loop.log")))
	r := newRig(t, filepath.Join(links, "*.log"))
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.rescan = time.Hour } // inotify alone
	r.start()
	r.expect("one")
	if len(r.inputs) != 1 {
		t.Fatalf("%d inputs of one file", len(r.inputs))
	}
	if p := r.inputs[0].Origin().Path; filepath.Dir(p) != links {
		t.Errorf("path %s is not the link's", p)
	}
	// The runtime rotates the file that the link leads to.
	target := filepath.Join(pods, "c1/0.log")
	must(t, os.Rename(target, target+".1"))
	write(t, target+".1", "two\n")
	r.expect("one", "two")
	write(t, target, "three\n")
	r.expect("one", "two", "three")
	// The link is swapped for another.
	write(t, filepath.Join(pods, "c2/0.log"), "four\n")
	must(t, os.Symlink(filepath.Join(pods, "c2/0.log"), link+".new"))
	must(t, os.Rename(link+".new", link))
	r.expect("one", "two", "three", "four")
	write(t, filepath.Join(links, "dangling.log"), "five\n") // made through the link
	r.expect("one", "two", "three", "four", "five")
}

func TestNotRegularAndUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o777))
	for d := dir; d != "/"; d = filepath.Dir(d) { // others must get through
		must(t, os.Chmod(d, 0o777|os.ModeSticky&mode(t, d)))
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo.log"), 0o666))
	must(t, os.Mkdir(filepath.Join(dir, "dir.log"), 0o755))
	secret := filepath.Join(dir, "secret.log")
	write(t, secret, "secret\n")
	must(t, os.Chmod(secret, 0))
	write(t, filepath.Join(dir, "ok.log"), "ok\n")
	r := newRig(t, filepath.Join(dir, "*.log"))
	src, err := newSource(&r.cfg, r.deps())
	must(t, err)
	src.inotify = new(instance) // what other tests do is not waited for
	r.tune(src)
	src.rescan = 20 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); r.done.Wait() })
	r.src = src
	r.done.Go(func() {
		runtime.LockOSThread() // the thread ends with the goroutine: what it may do is not restored
		if err := unix.Setfsuid(65534); err != nil {
			r.fail(err)
		}
		src.Run(ctx, func(in sources.Input) { r.done.Go(func() { r.read(ctx, in) }) })
	})
	r.until("what is left out", func() bool {
		return r.count() == 1 && r.skip("unreadable") == 1 && r.skip("not_regular") == 1
	})
	must(t, os.Chmod(secret, 0o644))
	r.until("the secret", func() bool { return r.count() == 2 })
	if r.skip("unreadable") != 1 || r.skip("not_regular") != 1 {
		t.Errorf("said more than once: %v", r.skips)
	}
	if log := r.log.String(); !strings.Contains(log, secret) || !strings.Contains(log, "fifo.log") || strings.Contains(log, "dir.log") {
		t.Errorf("log: %s", log)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	st, err := os.Stat(path)
	must(t, err)
	return st.Mode()
}

func TestStartAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "old\nunfinis")
	quiet := filepath.Join(dir, "quiet.log")
	write(t, quiet, "old and quiet\n")
	r := newRig(t, filepath.Join(dir, "*.log"))
	r.cfg.StartAt = "end"
	r.start()
	r.until("both", func() bool { return len(r.known()) == 2 })
	write(t, path, "hed\n")
	write(t, filepath.Join(dir, "new.log"), "from the beginning\n")
	r.until("two lines", func() bool { return r.count() == 2 })
	r.stop()
	write(t, filepath.Join(dir, "created while down.log"), "seen\n")
	write(t, quiet, "first\n")
	r.start()
	r.until("two more", func() bool { return r.count() == 4 })
	got := r.texts()
	slices.Sort(got)
	if !slices.Equal(got, []string{"first", "from the beginning", "seen", "unfinished"}) {
		t.Errorf("got %q", got)
	}
	r.clean()
}

// An inode number that is used again does not take the old position over.
func TestInodeReuse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	text := "the same text\n"
	write(t, path, text)
	r := newRig(t, path)
	r.start()
	r.expect("the same text")
	var before syscall.Stat_t
	must(t, syscall.Stat(path, &before))
	key := r.inputs[0].Origin().Input
	r.stop()
	r.inputs = nil
	for range 20 {
		// The rig's inputs are garbage now; their descriptors go with them.
		runtime.GC()
		must(t, os.Remove(path))
		write(t, path, text)
		var st syscall.Stat_t
		must(t, syscall.Stat(path, &st))
		if st.Ino == before.Ino {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	var after syscall.Stat_t
	must(t, syscall.Stat(path, &after))
	t.Logf("inode %d, then %d", before.Ino, after.Ino)
	r.start()
	r.until("both files", func() bool { return r.count() == 2 && r.gapCount() == 1 && r.endedCount() == 1 })
	if again := r.lines[1].input; again == key || r.ended[key] != 1 {
		t.Errorf("both files have the key %s", key)
	}
	if n := r.skip("vanished_file"); n != 1 {
		t.Errorf("%d files vanished", n)
	}
}

// A new device number, as after a reboot, does not make a file a new one.
func TestDeviceNumberChanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "1\n")
	r := newRig(t, path)
	r.start()
	r.expect("1")
	r.stop()
	key := r.inputs[0].Origin().Input
	rest, ok := withoutDevice(key)
	if !ok {
		t.Skip("file system without birth times and generations")
	}
	other := "7.77:" + rest
	r.positions = map[string]record.Position{other: r.positions[key]}
	write(t, path, "2\n")
	r.start()
	r.expect("1", "2")
	if got := r.inputs[1].Origin().Input; got != other {
		t.Errorf("key %s, want %s", got, other)
	}
}

// An input that has ended can be opened as long as it is held, though its
// file is deleted; then its descriptor is closed.
func TestDescriptorLivesAsLongAsTheInput(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "1\n")
	r := newRig(t, path)
	r.start()
	r.expect("1")
	must(t, os.Remove(path))
	r.until("the end", func() bool { return r.endedCount() == 1 })
	rd, err := r.inputs[0].Open("")
	must(t, err)
	b := record.NewBatch()
	must(t, rd.Read(b))
	if len(b.Records) != 1 || string(b.Records[0].Line) != "1" {
		t.Errorf("read %d records", len(b.Records))
	}
	b.Release()
	must(t, rd.Close())
	r.until("the descriptor is open", func() bool { return openFiles(t, path) == 1 })
	r.mu.Lock()
	r.inputs, rd = nil, nil
	r.mu.Unlock()
	r.until("the descriptor is closed", func() bool { runtime.GC(); return openFiles(t, path) == 0 })
}

func openFiles(t *testing.T, path string) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(target, path) {
			n++
		}
	}
	return n
}

// A file that is renamed before it could be opened is followed by the events,
// and announced before the one that took its place.
func TestRenamedBeforeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	src := testSource(t, path, 0)
	var found []sources.Input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
	defer d.close()
	d.start()
	write(t, path, "1\n")
	must(t, os.Rename(path, path+".1"))
	must(t, os.Rename(path+".1", path+".2"))
	write(t, path, "2\n")
	must(t, os.Rename(path, path+".1"))
	write(t, path, "3\n")
	deadline := time.After(time.Minute)
	for len(found) < 3 {
		select {
		case <-d.events():
			d.handle()
		case <-time.After(settleFor):
			d.release(time.Now())
		case <-deadline:
			t.Fatalf("found %d of 3 files", len(found))
		}
	}
	before := ""
	for i, in := range found {
		if in.Origin().Path != path {
			t.Errorf("file %d has path %s", i, in.Origin().Path)
		}
		if got := in.(sources.Successor).Predecessor(); got != before {
			t.Errorf("file %d has predecessor %q, want %q", i, got, before)
		}
		before = in.Origin().Input
	}
}
