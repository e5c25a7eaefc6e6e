package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sources"
)

// A refusal is told once in the log for each reason, counted once for each file, and shown until the
// file has not been met for a while.
func TestRefusals(t *testing.T) {
	var r refusals
	now := time.Now()
	key, proc := errors.New("it is the key"), errors.New("it is proc")
	for i, c := range []struct {
		path          string
		why           error
		at            time.Duration
		counted, said bool
		want          string
	}{
		{"/b", key, 0, true, true, "/b is not read: it is the key"},
		{"/b", key, time.Minute, false, false, "/b is not read: it is the key"},
		{"/a", key, time.Minute, true, false, "2 files are not read, one of them /a: it is the key"},
		{"/c", proc, 2 * time.Minute, true, true, "3 files are not read, one of them /a: it is the key"},
		{"/c", proc, refusedFor + 90*time.Second, false, false, "/c is not read: it is proc"},
		{"/b", key, refusedFor + 90*time.Second, true, false, "2 files are not read, one of them /b: it is the key"},
	} {
		counted, said := r.note(c.path, c.why, now.Add(c.at))
		if err := r.err(now.Add(c.at)); counted != c.counted || said != c.said || err == nil || err.Error() != c.want {
			t.Errorf("step %d: counted %v, said %v, %v; want %v, %v, %s", i, counted, said, err, c.counted, c.said, c.want)
		}
	}
	if err := r.err(now.Add(3 * refusedFor)); err != nil {
		t.Errorf("at last: %v", err)
	}
}

// That the configuration is not kept on disk shows, and changes the condition.
func TestACacheThatCannotBeWrittenShows(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	h.open()
	if err := h.sup.Apply(simpleConfig("app", "a")); err != nil {
		t.Fatal(err)
	}
	before := h.sup.Condition()
	h.sup.cached = func() error { return errors.New("no space left on device") }
	if got := h.reasons(); len(got) != 1 || !strings.Contains(got[0], "cannot be kept on disk") || !strings.Contains(got[0], "no space left") {
		t.Errorf("%q", got)
	}
	if h.sup.Condition() == before {
		t.Error("the condition is what it was")
	}
	h.stop(time.Minute)
}

// What a source is kept from reading shows in the status, and changes the condition by which a
// node reports at once.
func TestARefusedFileShows(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	h.open()
	var ask func(*os.File) error
	make := h.sup.makeSource
	h.sup.makeSource = func(c *config.Source, d sources.Deps) (sources.Source, string, error) {
		ask = d.Refused
		return make(c, d)
	}
	h.sup.refuses = func(f *os.File) error {
		if strings.HasSuffix(f.Name(), "key") {
			return errors.New("it is the key")
		}
		return nil
	}
	if err := h.sup.Apply(simpleConfig("app", "a")); err != nil {
		t.Fatal(err)
	}
	before := h.sup.Condition()
	open := func(name string) error {
		path := filepath.Join(t.TempDir(), name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return ask(f)
	}
	if err := open("log"); err != nil {
		t.Errorf("a log is refused: %v", err)
	}
	if got := h.reasons(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if err := open("key"); err == nil {
		t.Error("the key is not refused")
	}
	if got := strings.Join(h.reasons(), "\n"); !strings.HasPrefix(got, `source "app": `) || !strings.Contains(got, "key is not read: it is the key") {
		t.Errorf("reasons %q", got)
	}
	if h.sup.Condition() == before {
		t.Error("the condition is what it was")
	}
	h.stop(time.Minute)
}
