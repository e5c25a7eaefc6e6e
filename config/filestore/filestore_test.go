package filestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

// sample returns a configuration whose one source has the given name.
func sample(name string) string {
	return fmt.Sprintf("sources: [{name: %s, journald: {}}]\ntargets: [{name: out, stdout: {}}]\n", name)
}

// name returns what sample was given.
func name(e Event) string {
	if e.Config == nil || len(e.Config.Sources) == 0 {
		return fmt.Sprintf("(%v)", e.Err)
	}
	return e.Config.Sources[0].Name
}

// rig is a Store under test.
type rig struct {
	t      *testing.T
	store  *Store
	events <-chan Event
}

func start(t *testing.T, path string, pollOnly bool) *rig {
	t.Helper()
	s, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if s.pollOnly = pollOnly; !pollOnly {
		s.poll = time.Hour
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{t, s, s.Watch(ctx)}
	t.Cleanup(func() {
		cancel()
		for range r.events { // closed when all is stopped
		}
	})
	return r
}

// next returns the next Event.
func (r *rig) next() Event {
	r.t.Helper()
	select {
	case e := <-r.events:
		if (e.Config == nil) == (e.Err == nil) {
			r.t.Fatalf("event has neither or both of a configuration and an error: %+v", e)
		}
		return e
	case <-time.After(time.Minute):
		r.t.Fatal("no event in a minute")
		return Event{}
	}
}

// want demands that the next Event holds the configuration of that name.
func (r *rig) want(want string) {
	r.t.Helper()
	if got := name(r.next()); got != want {
		r.t.Fatalf("got configuration %s, want %s", got, want)
	}
}

// wantQuiet demands that nothing is heard of until a reload.
func (r *rig) wantQuiet(running string) {
	r.t.Helper()
	// As long as everything takes that could still be under way.
	select {
	case e := <-r.events:
		r.t.Fatalf("event without a change: %s (%v)", name(e), e.Err)
	case <-time.After(2*settle + poll):
	}
	r.store.Reload()
	e := r.next()
	if name(e) != running || !e.Reloaded {
		r.t.Fatalf("reload gave %s (reloaded: %v), want %s", name(e), e.Reloaded, running)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replace writes beside and renames over, as editors and package managers do.
func replace(t testing.TB, path, text string) {
	t.Helper()
	write(t, path+".tmp", text)
	must(t, os.Rename(path+".tmp", path))
}

// eachWay runs a test with inotify and without.
func eachWay(t *testing.T, f func(t *testing.T, pollOnly bool)) {
	t.Run("inotify", func(t *testing.T) { t.Parallel(); f(t, false) })
	t.Run("poll", func(t *testing.T) { t.Parallel(); f(t, true) })
}

func TestInPlaceAndRename(t *testing.T) {
	eachWay(t, func(t *testing.T, pollOnly bool) {
		path := filepath.Join(t.TempDir(), "lbshipd.yaml")
		write(t, path, sample("a"))
		r := start(t, path, pollOnly)
		r.want("a")
		write(t, path, sample("b"))
		r.want("b")
		replace(t, path, sample("c"))
		r.want("c")
		replace(t, path, sample("d"))
		r.want("d")
		write(t, path, sample("e"))
		r.want("e")
		// The same contents again are not news, whatever happens to the file.
		replace(t, path, sample("e"))
		must(t, os.Chmod(path, 0o640))
		r.wantQuiet("e")
	})
}

func TestDeletedAndMadeAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, pollOnly bool) {
		dir := filepath.Join(t.TempDir(), "sub", "folder")
		path := filepath.Join(dir, "lbshipd.yaml")
		r := start(t, path, pollOnly)
		if e := r.next(); !e.Gone || strings.Contains(e.Err.Error(), "goes on") {
			t.Fatalf("nothing there: %+v", e)
		}
		must(t, os.MkdirAll(dir, 0o755))
		write(t, path, sample("a"))
		r.want("a")
		must(t, os.Remove(path))
		e := r.next()
		if !e.Gone || !errors.Is(e.Err, os.ErrNotExist) || !strings.Contains(e.Err.Error(), "what runs goes on") {
			t.Fatalf("deleted: %+v", e)
		}
		write(t, path, sample("a"))
		r.want("a")
		must(t, os.RemoveAll(filepath.Dir(dir)))
		if e := r.next(); !e.Gone {
			t.Fatalf("folder deleted: %+v", e)
		}
		must(t, os.MkdirAll(dir, 0o755))
		write(t, path, sample("b"))
		r.want("b")
	})
}

// TestConfigMap swaps the link ..data, as Kubernetes does.
func TestConfigMap(t *testing.T) {
	eachWay(t, func(t *testing.T, pollOnly bool) {
		dir := t.TempDir()
		swap := func(version string) {
			must(t, os.Mkdir(filepath.Join(dir, version), 0o755))
			write(t, filepath.Join(dir, version, "lbshipd.yaml"), sample(version))
			must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
			must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		}
		swap("v1")
		must(t, os.Symlink("..data/lbshipd.yaml", filepath.Join(dir, "lbshipd.yaml")))
		r := start(t, filepath.Join(dir, "lbshipd.yaml"), pollOnly)
		r.want("v1")
		for _, version := range []string{"v2", "v3"} {
			swap(version)
			r.want(version)
		}
		must(t, os.RemoveAll(filepath.Join(dir, "v1")))
		must(t, os.RemoveAll(filepath.Join(dir, "v2")))
		write(t, filepath.Join(dir, "v3", "lbshipd.yaml"), sample("v3b"))
		r.want("v3b")
	})
}

func TestBrokenIsSaidOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, path, sample("a"))
	r := start(t, path, false)
	r.want("a")
	write(t, path, "sources: [{name: b, journal: {}}]\n")
	var problems config.Problems
	if e := r.next(); !errors.As(e.Err, &problems) || problems[0].Line != 1 || problems[0].File != path {
		t.Fatalf("got %+v", e)
	}
	replace(t, path, "sources: [{name: b, journal: {}}]\n")
	select {
	case e := <-r.events:
		t.Fatalf("said twice: %+v", e)
	case <-time.After(2*settle + poll):
	}
	write(t, path, sample("a"))
	r.want("a")
}

// TestHalfWritten writes a file in two steps. The first half alone is broken,
// which nobody must hear of.
func TestHalfWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, path, sample("v0"))
	r := start(t, path, false)
	r.want("v0")
	counted := 0
	for i := 1; counted < 4; i++ {
		if i > 100 {
			t.Fatal("this machine is too busy to write twice within the time that is allowed for it")
		}
		text, begin := sample(fmt.Sprintf("v%d", i)), time.Now()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		must(t, err)
		_, err = f.WriteString(text[:15])
		must(t, err)
		// Longer than quiet, so that the half is surely read, and shorter than settle.
		var early *Event
		select {
		case e := <-r.events:
			early = &e
		case <-time.After(quiet + 30*time.Millisecond):
		}
		_, err = f.WriteString(text[15:])
		must(t, err)
		must(t, f.Close())
		if time.Since(begin) < settle {
			counted++
			if early != nil {
				t.Fatalf("the first half was heard of: %s", name(*early))
			}
			r.want(fmt.Sprintf("v%d", i))
			continue
		}
		// The machine was too slow for this round to mean anything.
		for e := r.next(); e.Config == nil; e = r.next() {
		}
	}
}

func TestNamedFiles(t *testing.T) {
	dir := t.TempDir()
	path, token := filepath.Join(dir, "lbshipd.yaml"), filepath.Join(dir, "secrets", "token")
	write(t, path, "targets:\n- name: x\n  loki:\n    url: https://loki\n    bearerTokenFile: secrets/token\n")
	r := start(t, path, false)
	e := r.next()
	if e.Gone || e.Err == nil || !strings.Contains(e.Err.Error(), path+`:5: target "x": loki.bearerTokenFile: `+token+": no such file") {
		t.Fatalf("token missing: %+v", e)
	}
	get := func() string {
		t.Helper()
		e := r.next()
		if e.Config == nil {
			t.Fatal(e.Err)
		}
		return e.Config.Targets[0].Loki.BearerToken.Reveal()
	}
	must(t, os.Mkdir(filepath.Dir(token), 0o755))
	for _, text := range []string{"one", "two"} {
		write(t, token, text+"\n")
		if got := get(); got != text {
			t.Fatalf("token is %q, want %q", got, text)
		}
	}
	replace(t, token, "three")
	if got := get(); got != "three" {
		t.Fatalf("token is %q, want three", got)
	}
	must(t, os.Remove(token))
	if e := r.next(); e.Err == nil || e.Gone {
		t.Fatalf("token deleted: %+v", e)
	}
}

// TestOtherFailures is about a path that holds no file that can be read.
func TestOtherFailures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	must(t, os.Mkdir(path, 0o755))
	r := start(t, path, false)
	fail := func(want string) {
		t.Helper()
		if e := r.next(); e.Err == nil || e.Gone || !strings.Contains(e.Err.Error(), want) {
			t.Fatalf("got %v (gone %v), want %q", e.Err, e.Gone, want)
		}
	}
	fail("is a folder")
	swap := func(make func(string) error) {
		t.Helper()
		must(t, os.RemoveAll(path))
		must(t, make(path))
	}
	swap(func(p string) error { return syscall.Mkfifo(p, 0o600) })
	fail("no regular file")
	swap(func(p string) error { return os.Symlink(filepath.Base(p), p) })
	fail("too many levels")
	swap(func(p string) error {
		f, err := os.Create(p)
		if err == nil {
			err = errors.Join(f.Truncate(1<<40), f.Close())
		}
		return err
	})
	fail("is longer than")
	swap(func(p string) error { return os.WriteFile(p, []byte(sample("a")), 0o600) })
	r.want("a")
}

// TestUnreadable reads as a user who may not. Only a thread can be made that
// user, so the file is looked at on it and not in the Store's goroutine.
func TestUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become a user who may not read")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	path := filepath.Join(dir, "lbshipd.yaml")
	write(t, path, sample("a"))
	must(t, os.Chmod(path, 0))
	asRoot := read(path)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test's goroutine
	must(t, unix.Setfsuid(65534))
	s := read(path)
	must(t, unix.Setfsuid(0))
	if !errors.Is(s.err, os.ErrPermission) || s.gone {
		t.Fatalf("got %v, gone %v", s.err, s.gone)
	}
	if asRoot.err != nil || s.revision == asRoot.revision {
		t.Fatalf("becoming unreadable is not a change (%v)", asRoot.err)
	}
}

// TestSlowReceiver changes the file often before anybody takes an Event: the
// newest is what counts.
func TestSlowReceiver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, path, sample("a"))
	r := start(t, path, false)
	for i := range 5 {
		replace(t, path, sample(fmt.Sprintf("v%d", i)))
	}
	deadline := time.Now().Add(time.Minute)
	for got := ""; got != "v4"; got = name(r.next()) {
		if time.Now().After(deadline) {
			t.Fatal("v4 never came")
		}
	}
	r.wantQuiet("v4")
}

// TestBusyWriter changes the file without ever leaving it quiet: what it holds
// is heard of all the same.
func TestBusyWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, path, sample("a"))
	r := start(t, path, false)
	r.want("a")
	ticker := time.NewTicker(quiet / 5)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for i := 0; ; i++ {
		select {
		case e := <-r.events:
			if e.Config == nil {
				t.Fatal(e.Err)
			}
			return
		case <-ticker.C:
			replace(t, path, sample(fmt.Sprintf("v%d", i)))
		case <-deadline:
			t.Fatal("nothing was heard of in a minute")
		}
	}
}
