package file

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "one\ntwo\r\n\n\nthree")
	r := newRig(t, filepath.Join(dir, "*.log"))
	r.start()
	r.expect("one", "two")
	write(t, path, " and a half\n")
	r.expect("one", "two", "three and a half")
	write(t, filepath.Join(dir, "later.log"), "first\n")
	r.expect("one", "two", "three and a half", "first")
	if got := r.lines[2]; got.offset != 11 || got.path != path || got.flags != record.TimeAssigned {
		t.Errorf("third line is %+v", got)
	}
}

func TestRotationRenameCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "1\n")
	r := newRig(t, path)
	r.start()
	r.expect("1")
	must(t, os.Rename(path, path+".1"))
	write(t, path+".1", "2\nunfinished")
	r.expect("1", "2")
	write(t, path, "3\n")
	r.until("the torn line and the new file", func() bool { return r.count() == 4 })
	got := r.texts()
	if !slices.Contains(got, "3") || !slices.Contains(got, "unfinished") {
		t.Fatalf("got %q", got)
	}
	r.until("the end of the old file", func() bool { return r.endedCount() == 1 })
	for _, l := range r.lines {
		if l.path != path {
			t.Errorf("line %q has path %s", l.text, l.path)
		}
		if (l.flags&record.Torn != 0) != (l.text == "unfinished") {
			t.Errorf("line %q has flags %b", l.text, l.flags)
		}
	}
	r.clean()
}

func TestRestartAfterRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "1\n2\nhal")
	r := newRig(t, path)
	r.start()
	r.expect("1", "2")
	r.stop()
	write(t, path, "f\n3\n")
	must(t, os.Rename(path, path+".1"))
	write(t, path, "4\n")
	r.start()
	r.until("all lines", func() bool { return r.count() >= 5 })
	got := r.texts()
	slices.Sort(got)
	if !slices.Equal(got, []string{"1", "2", "3", "4", "half"}) {
		t.Fatalf("got %q", got)
	}
	for _, l := range r.lines {
		if l.path != path {
			t.Errorf("line %q has path %s", l.text, l.path)
		}
	}
	r.until("the end of the old file", func() bool { return r.endedCount() == 1 })
	r.clean()
}

func TestCopytruncate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "one line\nanother\n")
	r := newRig(t, path)
	r.start()
	r.expect("one line", "another")
	must(t, os.Truncate(path, 0))
	write(t, path, "new\n")
	r.until("the new line", func() bool { return r.count() == 3 })
	if len(r.gaps) != 1 || r.gaps[0].Reason != "truncated" {
		t.Fatalf("gaps %v", r.gaps)
	}
}

func TestRewrittenLonger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	for i, text := range []string{"one line\n", "new line\n", "a longer line\nand one more\n"} {
		if i == 0 {
			write(t, path, text)
		}
	}
	r := newRig(t, path)
	r.start()
	r.expect("one line")
	must(t, os.WriteFile(path, []byte("new line\n"), 0o644))
	r.until("the same size", func() bool { return r.count() == 2 && r.gapCount() == 1 })
	must(t, os.WriteFile(path, []byte("a longer line\nand one more\n"), 0o644))
	r.until("a larger size", func() bool { return r.count() == 4 && r.gapCount() == 2 })
	if got := r.texts(); !slices.Equal(got, []string{"one line", "new line", "a longer line", "and one more"}) {
		t.Fatalf("got %q", got)
	}
}
