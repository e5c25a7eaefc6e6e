package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// A file that was created and rotated away while no daemon ran is found by its
// birth and its name; one that a former daemon may have read is not read again.
func TestBornAndRotatedWhileDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"app.log", "app.log.1", "app.log-20260102", "app.log.2026-01-02-03", "app.log.2.gz", "other.txt", "application.1"} {
		write(t, filepath.Join(dir, name), name+"\n")
	}
	for _, c := range []struct {
		name  string
		saved time.Time
		first bool
		want  []string // contents, the names of the files
		gone  int      // compressed, and perhaps unread
	}{
		{"saved before they were born", time.Now().Add(-time.Minute), false, []string{"app.log", "app.log-20260102", "app.log.1", "app.log.2026-01-02-03"}, 1},
		{"saved just after they were born", time.Now().Add(bornSlack / 2), false, []string{"app.log", "app.log-20260102", "app.log.1", "app.log.2026-01-02-03"}, 0},
		{"saved after they were born", time.Now().Add(time.Minute), false, []string{"app.log"}, 0},
		{"never saved", time.Time{}, false, []string{"app.log"}, 0},
		{"first run", time.Now().Add(-time.Minute), true, []string{"app.log"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := testSource(t, filepath.Join(dir, "*.log"), 0)
			src.deps.LastSaved, src.deps.FirstRun = c.saved, c.first
			skipped := map[string]int{}
			src.deps.Skipped = func(reason string, n int) { skipped[reason] += n }
			var got []string
			told := 0 // that something may be lost
			d := newDiscovery(src, func(in sources.Input) {
				if in.Origin().Path != filepath.Join(dir, "app.log") {
					t.Errorf("path %s", in.Origin().Path)
				}
				if in.(*input).givenUp.Load() != nil {
					told++
					return
				}
				got = append(got, string(readFirst(t, in)))
			})
			defer d.close()
			d.start()
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if skipped["rotated_compressed"] != c.gone || told != c.gone {
				t.Errorf("skipped %v, %d announced", skipped, told)
			}
		})
	}
}

// What was compressed while the source that is replaced still watched is no loss, however
// long ago the one that replaces it was made.
func TestCompressedBeforeAReloadIsNotMissed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	former, src := testSource(t, path, 0), testSource(t, path, 0)
	src.deps.LastSaved = kernelNow() // when it was made
	ctx, cancel := context.WithCancel(t.Context())
	found := make(chan sources.Input, 10)
	done := make(chan error)
	go func() { done <- former.Run(ctx, func(in sources.Input) { found <- in }) }()
	write(t, path, "read\n")
	in := <-found
	must(t, os.Rename(path, path+".1"))
	write(t, path+".1.gz", "compressed")
	wrote := kernelNow()
	waitFor(t, "the kernel's clock to go on", func() bool { return kernelNow().After(wrote.Add(pollTick)) }, func() string { return "" })
	cancel()
	must(t, <-done)
	src.deps.Known = func() []sources.Stored { return []sources.Stored{{Input: in.Origin().Input, Position: in.Start()}} }
	src.deps.Skipped = func(reason string, n int) { t.Errorf("skipped: %s", reason) }
	src.Inherit(former)
	d := newDiscovery(src, func(sources.Input) {})
	defer d.close()
	d.start()
}

// A file that a busy daemon had not seen when it last saved is found by what took its
// place; the copy that copytruncate has just made is not taken for one.
func TestRotatedBeforeABusyDaemonSawIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "rotated\n")
	must(t, os.Rename(path, path+".1"))
	waitFor(t, "the kernel's clock to go on", func() bool { return tickOver(t, path) }, func() string { return "" })
	write(t, path, "there\n")
	waitFor(t, "the kernel's clock to go on", func() bool { return tickOver(t, path) }, func() string { return "" })
	write(t, path+".2", "copied\n")
	for saved, want := range map[time.Duration]int{5 * time.Second: 2, time.Minute: 1} {
		src := testSource(t, path, 0)
		src.deps.LastSaved = time.Now().Add(saved)
		var got []string
		d := newDiscovery(src, func(in sources.Input) { got = append(got, string(readFirst(t, in))) })
		d.start()
		d.close()
		if all := []string{"rotated", "there"}; !slices.Equal(got, all[2-want:]) {
			t.Errorf("saved %v after it was rotated: got %q, want %q", saved, got, all[2-want:])
		}
	}
}

// What was created and renamed within the globs while no daemon ran comes between what
// was there before and what is there now.
func TestOrderOfFilesRenamedWithinTheGlobs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	r := newRig(t, path+"*")
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.deps.LastSaved = time.Now().Add(-time.Minute) }
	r.start()
	write(t, path, "a1\n")
	r.expect("a1")
	r.stop()
	r.inputs = nil
	for i, text := range []string{"a2\n", "b1\n", "c1\n"} {
		waitFor(t, "the kernel's clock to go on", func() bool { return tickOver(t, path) }, func() string { return "" })
		write(t, path, text)
		must(t, os.Rename(path, fmt.Sprint(path, ".", 3-i)))
	}
	waitFor(t, "the kernel's clock to go on", func() bool { return tickOver(t, path) }, func() string { return "" })
	write(t, path, "d1\n")
	r.start()
	r.until("all", func() bool { return r.count() == 5 })
	r.mu.Lock()
	defer r.mu.Unlock()
	before, born := "", uint64(0)
	for i, in := range r.inputs {
		key := in.Origin().Input
		if got := in.(sources.Successor).Predecessor(); got != before || keyBirth(key) <= born {
			t.Errorf("input %d (%s) has predecessor %q, want %q; born %d, the one before %d", i, in.Origin().Path, got, before, keyBirth(key), born)
		}
		before, born = key, keyBirth(key)
	}
}

// tickOver reports whether a file that is made now is born later than the last one in the folder of path.
func tickOver(t *testing.T, path string) bool {
	t.Helper()
	var newest uint64
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	must(t, err)
	bornOf := func(name string) uint64 {
		f, err := os.Open(name)
		must(t, err)
		defer f.Close()
		return birth(int(f.Fd()))
	}
	for _, e := range entries {
		newest = max(newest, bornOf(join(dir, e.Name())))
	}
	probe := join(dir, "probe")
	must(t, os.WriteFile(probe, nil, 0o644))
	defer os.Remove(probe)
	return bornOf(probe) > newest
}

// readFirst reads the first line of an input from where it starts.
func readFirst(t *testing.T, in sources.Input) []byte {
	t.Helper()
	r, err := in.Open(in.Start())
	must(t, err)
	defer r.Close()
	b := record.NewBatch()
	defer b.Release()
	for range 10 {
		must(t, r.Read(b))
		if len(b.Records) > 0 {
			return slices.Clone(b.Records[0].Line)
		}
	}
	return fmt.Append(nil, "nothing in ", in.Origin().Input)
}

// A file that appears after the daemon has started is read from its beginning, also if that is before the
// first walk has come to it, and startAt is end for those that were there.
func TestFileBornBeforeTheFirstWalkIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t, filepath.Join(dir, "*.log"))
	r.cfg.StartAt = "end"
	write(t, filepath.Join(dir, "old.log"), "old\n")
	tune := r.tune
	r.tune = func(s *source) {
		tune(s)
		waitFor(t, "the clock to go on", func() bool { return kernelNow().After(s.begun) }, func() string { return "" })
		write(t, filepath.Join(dir, "new.log"), "new\n")
	}
	r.start()
	r.expect("new")
	write(t, filepath.Join(dir, "old.log"), "more\n")
	r.expect("new", "more")
}
