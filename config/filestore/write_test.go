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
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

var root = config.WriteOptions{Author: config.Author{Name: "root", Via: "socket"}}

// opened returns a Store for a new file with this text, in a folder of its own.
func opened(t testing.TB, text string) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return reopened(t, path, "")
}

func reopened(t testing.TB, path, dataDir string) *Store {
	t.Helper()
	s, err := Open(path, slog.New(slog.DiscardHandler))
	must(t, err)
	s.KeepHistory(dataDir)
	return s
}

// object makes a Change of one object.
func object(t testing.TB, kind config.Kind, text string) config.Change {
	t.Helper()
	d, err := config.Decode(kind, "test", []byte(text))
	must(t, err)
	return config.Change{Kind: kind, Name: d.Object.ObjectName(), Draft: &d}
}

func source(t testing.TB, name, more string) config.Change {
	t.Helper()
	return object(t, config.KindSource, "{name: "+name+", journald: {}"+more+"}")
}

func text(t testing.TB, s *Store) string {
	t.Helper()
	data, err := os.ReadFile(s.Path())
	must(t, err)
	return string(data)
}

// find lists the objects and returns one.
func find(t testing.TB, s *Store, kind config.Kind, name string) config.Stored {
	t.Helper()
	objects, err := s.List(context.Background())
	must(t, err)
	for _, o := range objects {
		if o.Kind == kind && o.Name == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return config.Stored{}
}

const commented = `# Ours.
sources:
  - name: a # the journal
    journald: {}

# Where to.
targets: [{name: out, stdout: {}}] # console
`

func TestWrite(t *testing.T) {
	s, ctx := opened(t, commented), context.Background()
	before := find(t, s, config.KindSource, "a")
	c := source(t, "a", ", minLevel: info")
	c.IfMatch = before.Etag
	w, err := s.Write(ctx, []config.Change{c}, root)
	must(t, err)
	want := strings.Replace(commented, "journald: {}\n", "journald: {}\n    minLevel: info\n", 1)
	if got := text(t, s); got != want {
		t.Errorf("got\n%s", got)
	}
	now := find(t, s, config.KindSource, "a")
	if w.Revision.ID != 1 || w.Revision.Author != "root" || w.Revision.Via != "socket" || len(w.Revision.Changes) != 1 || w.Revision.Changes[0].Action != "update" ||
		len(w.Objects) != 1 || w.Objects[0].Etag != now.Etag || now.Etag == before.Etag || w.Objects[0].By != "root" || now.Updated.IsZero() {
		t.Errorf("%+v\n%+v", w, now)
	}
	out := find(t, s, config.KindTarget, "out")
	if !out.Updated.IsZero() || out.By != "" {
		t.Errorf("an object that nobody has changed: %+v", out)
	}
	// Again: it has another Etag now.
	if _, err := s.Write(ctx, []config.Change{c}, root); !errors.Is(err, config.ErrStale) {
		t.Errorf("got %v", err)
	}
	// What is there already.
	c.IfMatch = ""
	w, err = s.Write(ctx, []config.Change{c}, root)
	if err != nil || w.Revision.ID != 0 || len(w.Objects) != 1 || w.Objects[0].Object == nil || text(t, s) != want {
		t.Errorf("%v: %+v", err, w)
	}
	// A dry run.
	dry := root
	dry.DryRun = true
	w, err = s.Write(ctx, []config.Change{source(t, "a", ", minLevel: debug"), {Kind: config.KindTarget, Name: "out"}}, dry)
	if err != nil || w.Revision.ID != 0 || len(w.Revision.Changes) != 2 || w.Objects[1].Object != nil || w.Objects[1].Etag != "" || text(t, s) != want {
		t.Errorf("%v: %+v", err, w)
	}
	for _, changes := range [][]config.Change{
		{{Kind: config.KindSource, Name: "x", Replace: true}},
		{source(t, "b", ""), source(t, "c", ", logFormat: regex:nope")},
	} {
		if _, err := s.Write(ctx, changes, root); err == nil || text(t, s) != want {
			t.Errorf("got %v", err)
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Write(canceled, []config.Change{source(t, "b", "")}, root); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestEtags: they stay as they are for as long as the object does, whatever else changes in the file, and
// across restarts; nothing of a secret can be found out from them.
func TestEtags(t *testing.T) {
	dir := t.TempDir()
	const target = "targets: [{name: t, loki: {url: 'https://x', bearerToken: %s}}]\n"
	s := opened(t, fmt.Sprintf(target, "s3cret"))
	s.KeepHistory(dir)
	first := find(t, s, config.KindTarget, "t").Etag
	must(t, os.WriteFile(s.Path(), []byte("# new\n"+fmt.Sprintf(strings.Replace(target, ", bearerToken", ",   bearerToken", 1), "'s3cret'")+"sources: []\n"), 0o600))
	if again := find(t, reopened(t, s.Path(), dir), config.KindTarget, "t").Etag; again != first || len(first) != 24 {
		t.Errorf("Etag was %s and is %s", first, again)
	}
	if other := find(t, reopened(t, s.Path(), t.TempDir()), config.KindTarget, "t").Etag; other == first {
		t.Error("another daemon, which anybody may run, makes the same Etag of the same secret")
	}
	must(t, os.WriteFile(s.Path(), []byte(fmt.Sprintf(target, "other")), 0o600))
	if changed := find(t, s, config.KindTarget, "t").Etag; changed == first {
		t.Error("a new secret does not change the Etag")
	}
}

// TestBrokenFileIsNotWritten: a person is in the middle of something.
func TestBrokenFileIsNotWritten(t *testing.T) {
	for broken, want := range map[string]string{
		"sources: [{name: a, journal: {}}]\n": `:1: source "a": journal: unknown field`,
		"sources: [\n":                        "not valid YAML",
		"sources: [{name: a, journald: {}, logFormat: regex:x}]\n": `:1: source "a": logFormat: there is no format "x"`,
		"":                           "nothing in it",
		"sources: []\nsourcez: []\n": `:2: sourcez: unknown field, did you mean "sources"?`,
	} {
		s := opened(t, broken)
		_, err := s.Write(context.Background(), []config.Change{source(t, "b", "")}, root)
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) || text(t, s) != broken {
			t.Errorf("%q: got %v", broken, err)
		}
	}
	s := opened(t, "sources: [{name: a, journal: {}}, {name: b, journald: {}}]\n")
	if a := find(t, s, config.KindSource, "a"); a.Err == nil || a.Object != nil {
		t.Errorf("a broken object is listed as %+v", a)
	}
	if b := find(t, s, config.KindSource, "b"); b.Err != nil {
		t.Error(b.Err)
	}
	must(t, os.Remove(s.Path()))
	if _, err := s.Write(context.Background(), nil, root); !errors.Is(err, config.ErrUnavailable) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := s.List(context.Background()); !errors.Is(err, config.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestFilesAreChecked: what names a file that cannot be read would be refused when the file is
// read, and all the rest with it; what was so before is no reason.
func TestFilesAreChecked(t *testing.T) {
	s, ctx := opened(t, commented), context.Background()
	bundle := object(t, config.KindTLSBundle, "{name: b, caFile: nope.pem}")
	_, err := s.Write(ctx, []config.Change{bundle}, root)
	var problems config.Problems
	if !errors.As(err, &problems) || problems[0].Object != `TLS bundle "b"` || problems[0].Field != "caFile" {
		t.Errorf("got %v", err)
	}
	write(t, s.Path(), commented+"tlsBundles: [{name: b, caFile: nope.pem}]\n")
	if _, err := s.Write(ctx, []config.Change{source(t, "a", ", minLevel: info")}, root); err != nil {
		t.Error(err)
	}
	if _, err := s.Write(ctx, []config.Change{object(t, config.KindTLSBundle, "{name: b, caFile: nope2.pem}")}, root); err == nil {
		t.Error("another file that cannot be read is taken")
	}
	if got := text(t, s); !strings.Contains(got, "caFile: nope.pem") {
		t.Errorf("a path was changed\n%s", got)
	}
}

// TestWriteThroughLinks: links, owner and mode stay.
func TestWriteThroughLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real", "x.yaml"), filepath.Join(dir, "link.yaml")
	must(t, os.Mkdir(filepath.Dir(real), 0o755))
	must(t, os.WriteFile(real, []byte(commented), 0o600))
	must(t, os.Chmod(real, 0o640))
	if os.Getuid() == 0 {
		must(t, os.Chown(real, 12, 34))
	}
	must(t, os.Symlink("real/x.yaml", link))
	if _, err := reopened(t, link, "").Write(context.Background(), []config.Change{source(t, "b", "")}, root); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "real/x.yaml" {
		t.Errorf("the link is %s, %v", target, err)
	}
	var stat unix.Stat_t
	must(t, unix.Stat(real, &stat))
	if stat.Mode&0o7777 != 0o640 || os.Getuid() == 0 && (stat.Uid != 12 || stat.Gid != 34) {
		t.Errorf("mode %o, owner %d:%d", stat.Mode&0o7777, stat.Uid, stat.Gid)
	}
	data, err := os.ReadFile(real)
	if err != nil || !strings.Contains(string(data), "name: b") {
		t.Errorf("%v: %s", err, data)
	}
	if left, err := os.ReadDir(filepath.Dir(real)); err != nil || len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestReadOnly: why it cannot be written is said, and nothing is changed.
func TestReadOnly(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "v1"), 0o755))
	write(t, filepath.Join(dir, "v1", "lbshipd.yaml"), commented)
	must(t, os.Symlink("v1", filepath.Join(dir, "..data")))
	must(t, os.Symlink("..data/lbshipd.yaml", filepath.Join(dir, "lbshipd.yaml")))
	s := reopened(t, filepath.Join(dir, "lbshipd.yaml"), "")
	_, err := s.Write(ctx, []config.Change{source(t, "b", "")}, root)
	if !errors.Is(err, config.ErrReadOnly) || !strings.Contains(err.Error(), "ConfigMap") || text(t, s) != commented {
		t.Errorf("got %v", err)
	}
	if os.Getuid() != 0 {
		t.Skip("the rest needs root, to mount and to become a user who may not write")
	}
	t.Run("mounted read-only", func(t *testing.T) {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
		write(t, filepath.Join(dir, "lbshipd.yaml"), commented)
		must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		s := reopened(t, filepath.Join(dir, "lbshipd.yaml"), "")
		if _, err := s.Write(ctx, []config.Change{source(t, "b", "")}, root); !errors.Is(err, config.ErrReadOnly) || !strings.Contains(err.Error(), "read-only file system") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("mounted by itself", func(t *testing.T) {
		s := opened(t, commented)
		if err := unix.Mount(s.Path(), s.Path(), "", unix.MS_BIND, ""); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		defer func() { must(t, unix.Unmount(s.Path(), unix.MNT_DETACH)) }()
		if _, err := s.Write(ctx, []config.Change{source(t, "b", "")}, root); !errors.Is(err, config.ErrReadOnly) || !strings.Contains(err.Error(), "mount its folder") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		s := opened(t, commented)
		for d := filepath.Dir(s.Path()); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			must(t, os.Chmod(d, 0o755))
		}
		must(t, os.Chmod(s.Path(), 0o644))
		runtime.LockOSThread() // and never unlocked: the thread ends with the test's goroutine
		must(t, unix.Setfsuid(65534))
		_, err := s.Write(ctx, []config.Change{source(t, "b", "")}, root)
		must(t, unix.Setfsuid(0))
		if !errors.Is(err, config.ErrReadOnly) || !strings.Contains(err.Error(), "may not write into the folder") || !strings.Contains(err.Error(), "Edit "+s.Path()+" itself") {
			t.Errorf("got %v", err)
		}
	})
}

// TestChangedMeanwhile: what a person writes while a Write is under way is not lost.
func TestChangedMeanwhile(t *testing.T) {
	s := opened(t, commented)
	times := 0
	s.between = func() {
		if times++; times <= 2 {
			replace(t, s.Path(), strings.Replace(text(t, s), "# Ours.", "# Ours, too.", 1))
		}
		if times == 1 {
			return
		}
		s.between = nil
	}
	w, err := s.Write(context.Background(), []config.Change{source(t, "b", "")}, root)
	must(t, err)
	if got := text(t, s); !strings.HasPrefix(got, "# Ours, too.") || !strings.Contains(got, "name: b") || w.Revision.ID != 1 {
		t.Errorf("got\n%s", got)
	}
	// The object itself is changed: that is what IfMatch is for.
	c := source(t, "a", ", minLevel: info")
	c.IfMatch = find(t, s, config.KindSource, "a").Etag
	s.between = func() {
		s.between = nil
		replace(t, s.Path(), strings.Replace(text(t, s), "journald: {}", "journald: {units: [x]}", 1))
	}
	if _, err := s.Write(context.Background(), []config.Change{c}, root); !errors.Is(err, config.ErrStale) || !strings.Contains(text(t, s), "units: [x]") {
		t.Errorf("got %v", err)
	}
	n := 0
	s.between = func() { n++; replace(t, s.Path(), text(t, s)+"# again\n") }
	if _, err := s.Write(context.Background(), []config.Change{source(t, "c", "")}, root); !errors.Is(err, errChanged) || n != attempts {
		t.Errorf("after %d times: %v", n, err)
	}
}

// TestConcurrentWrites: none is lost.
func TestConcurrentWrites(t *testing.T) {
	s := opened(t, commented)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 5 {
				name := fmt.Sprintf("s%d-%d", i, j)
				d, err := config.Decode(config.KindSource, "x", []byte("{name: "+name+", journald: {}}"))
				if err == nil {
					_, err = s.Write(context.Background(), []config.Change{{Kind: config.KindSource, Name: name, Draft: &d, Create: true}}, root)
				}
				if err != nil {
					t.Error(err)
				}
				if _, err := s.List(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	objects, err := s.List(context.Background())
	must(t, err)
	history, err := s.History(context.Background())
	must(t, err)
	if len(objects) != 42 || len(history) != 40 || history[0].ID != 40 {
		t.Errorf("%d objects, %d revisions", len(objects), len(history))
	}
	for _, comment := range []string{"# Ours.", "# the journal", "# Where to.", "# console"} {
		if strings.Count(text(t, s), comment) != 1 {
			t.Errorf("%s is not there once", comment)
		}
	}
}

// TestWatchSeesWrites at once, without inotify and long before it would look by itself.
func TestWatchSeesWrites(t *testing.T) {
	s := opened(t, commented)
	s.pollOnly, s.poll = true, time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	events := s.Watch(ctx)
	next := func() Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-time.After(time.Minute):
			t.Fatal("no Event")
		}
		return Event{}
	}
	hashes := map[string]bool{next().Hash: true}
	for i := range 5 {
		begin := time.Now()
		_, err := s.Write(ctx, []config.Change{source(t, fmt.Sprintf("s%d", i), "")}, root)
		must(t, err)
		e := next()
		t.Logf("written and heard of after %v", time.Since(begin))
		if e.Config == nil || len(e.Config.Sources) != i+2 || len(e.Hash) != 64 || hashes[e.Hash] {
			t.Fatalf("%+v", e)
		}
		hashes[e.Hash] = true
	}
	history, err := s.History(ctx)
	if err != nil || len(history) != 5 {
		t.Errorf("%d revisions, %v: a Write was taken for a change by hand", len(history), err)
	}
	cancel()
}

// TestWriteTooLong: a file that could not be read again is not written, and the answer says why.
func TestWriteTooLong(t *testing.T) {
	path := "/" + strings.Repeat("x", 4000)
	var changes []config.Change
	for i := range 11 {
		paths := strings.Repeat(path+",", 100)
		d, err := config.Decode(config.KindSource, "draft", []byte(fmt.Sprintf("{name: s%d, enabled: false, file: {paths: [%s]}}", i, paths)))
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, config.Change{Kind: config.KindSource, Name: d.Object.ObjectName(), Draft: &d})
	}
	s := objectsOf(t, []byte("sources: []\n"))
	_, err := edit([]byte("sources: []\n"), s, applied(s, changes), changes)
	var problems config.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "the configuration file would be 44") {
		t.Errorf("got %v", err)
	}
}
