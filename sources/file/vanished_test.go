package file

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// A file that was deleted while no daemon ran is a loss to each target: of what another one
// is known to have had of it, or of unknown size. Not when its file system is only not there yet.
func TestDeletedWhileDownIsALoss(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "app.log")
	write(t, path, "one\ntwo\n")
	src := testSource(t, path, 0)
	key, begin := keyOf(t, src, path)
	in := testInput(t, testSource(t, path, 0), path)
	p := place{offset: 8, path: escapePath(path)}
	var err error
	p.head, p.tail, err = in.fingerprint(8)
	must(t, err)
	end := p.text()
	find := func(key string) (found []sources.Input) {
		src := testSource(t, path, 0)
		src.deps.Known = func() []sources.Stored {
			return []sources.Stored{{Input: key, Position: begin}, {Input: key, Position: end}}
		}
		d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
		defer d.close()
		d.start()
		catchUp(t, d)
		return found
	}
	must(t, os.Remove(path))
	found := find(key)
	if len(found) != 1 || found[0].Origin().Input != key || found[0].Origin().Path != path {
		t.Fatalf("found %d inputs", len(found))
	}
	for pos, want := range map[record.Position]int64{begin: 8, end: 0} {
		if gap := onlyGap(t, found[0], pos); gap.Reason != "vanished" || gap.Bytes != want || gap.Records != 0 {
			t.Errorf("from %s: %+v, want %d bytes", pos, gap, want)
		}
	}
	if found := find("0.0:1:b1"); len(found) > 0 {
		t.Error("a file of another device counts as lost")
	}
	told := place{offset: lostOffset, head: emptyHash, tail: emptyHash, path: escapePath(path)}
	begin, end = told.text(), told.text()
	if found := find(key); len(found) > 0 {
		t.Error("what all were told of is an input again")
	}
	begin = p.text()
	must(t, os.RemoveAll(filepath.Dir(path)))
	if found := find(key); len(found) > 0 {
		t.Error("a file counts as lost whose directory is not there")
	}
}

// A file that was deleted and read to its end before lbshipd stopped is no loss; to a target that was behind,
// exactly what it had not had of it is.
func TestDeletedAndReadIsNoLossAfterARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\ntwo\n")
	r := newRig(t, path)
	r.start()
	r.expect("one", "two")
	must(t, os.Remove(path))
	var end record.Position
	r.until("the position to say so", func() bool {
		for _, pos := range r.known() {
			end = pos
		}
		p, err := parsePosition(end)
		return err == nil && p.deleted && p.offset == 8 && p.text() == end
	})
	r.stop()
	r.start()
	write(t, path, "three\n")
	r.expect("one", "two", "three")
	r.clean()
	r.stop()

	src := testSource(t, path, 0)
	key := r.lines[0].input
	behind := place{offset: 4, head: emptyHash, tail: emptyHash, path: escapePath(path)}
	src.deps.Known = func() []sources.Stored {
		return []sources.Stored{{Input: key, Position: behind.text()}, {Input: key, Position: end}}
	}
	var found []sources.Input
	d := newDiscovery(src, func(in sources.Input) {
		if in.Origin().Input == key {
			found = append(found, in)
		}
	})
	defer d.close()
	d.start()
	if len(found) != 1 {
		t.Fatalf("found %d inputs", len(found))
	}
	if gap := onlyGap(t, found[0], behind.text()); gap.Bytes != 4 {
		t.Errorf("%+v", gap)
	}
	rd, err := found[0].Open(end)
	must(t, err)
	defer rd.Close()
	b := record.NewBatch()
	defer b.Release()
	if err := rd.Read(b); err != io.EOF {
		t.Errorf("who had all of it is told %v", err)
	}
}

// A file that comes and goes before it can be opened is a loss of unknown size.
func TestDeletedBeforeItCouldBeOpenedIsALoss(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	var found []sources.Input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
	defer d.close()
	d.start()
	for range 2 {
		write(t, path, "lost\n")
		must(t, os.Remove(path))
	}
	must(t, os.Mkdir(path, 0o755)) // is no file
	must(t, os.Remove(path))
	tickOn(t)
	write(t, path, "there\n")
	catchUp(t, d)
	if len(found) != 3 || found[0].Origin().Input == found[1].Origin().Input {
		t.Fatalf("found %d inputs of 3", len(found))
	}
	for i, in := range found[:2] {
		if gap := onlyGap(t, in, in.Start()); gap.Reason != "vanished" || gap.Bytes != 0 {
			t.Errorf("%+v", gap)
		}
		if next := found[i+1].(sources.Successor).Predecessor(); next != in.Origin().Input {
			t.Errorf("the next one has predecessor %q, want %q", next, in.Origin().Input)
		}
		if _, ok := in.(sources.Risker).Risk(in.Start()); !ok {
			t.Error("what is at risk is not known")
		}
	}
}

// A file that was open before it was renamed and deleted is no loss, however late the events are looked
// at, and whether its new name is in the globs or not.
func TestDeletedOnceItWasOpenIsNoLoss(t *testing.T) {
	t.Parallel()
	for _, glob := range []string{"app.log", "app.log*"} {
		t.Run(glob, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			write(t, path, "1\n")
			src := testSource(t, filepath.Join(filepath.Dir(path), glob), 0)
			var found []sources.Input
			d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
			defer d.close()
			d.start()
			must(t, os.Rename(path, path+".1"))
			must(t, os.Rename(path+".1", path+".2"))
			must(t, os.Remove(path+".2"))
			write(t, path, "2\n")
			catchUp(t, d)
			if len(found) != 2 || string(readFirst(t, found[0])) != "1" || string(readFirst(t, found[1])) != "2" {
				t.Errorf("found %d inputs, or others than the two", len(found))
			}
		})
	}
}

// What has come and gone when a source is replaced, and nobody has looked at yet, is told by the former
// source, and by the one that replaces it to whoever reads.
func TestWhatWentAtAReloadIsALoss(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	former := testSource(t, path, 0)
	ctx, cancel := context.WithCancel(t.Context())
	var found []sources.Input
	former.inotify.stalled = true
	_, err := newNotifier(former.inotify) // keeps it
	must(t, err)
	done := make(chan error)
	go func() { done <- former.Run(ctx, func(in sources.Input) { found = append(found, in) }) }()
	waitFor(t, "the directory to be watched", func() bool {
		former.watching.mu.Lock()
		defer former.watching.mu.Unlock()
		return former.watching.notifier != nil
	}, func() string { return "" })
	write(t, path, "lost\n")
	must(t, os.Remove(path))
	cancel()
	must(t, <-done)
	if len(found) != 1 {
		t.Fatalf("the former source has found %d files", len(found))
	}
	src := testSource(t, path, 0)
	src.deps.Known = func() []sources.Stored {
		return []sources.Stored{{Input: found[0].Origin().Input, Position: found[0].Start()}}
	}
	src.Inherit(former)
	var next []sources.Input
	d := newDiscovery(src, func(in sources.Input) { next = append(next, in) })
	defer d.close()
	d.start()
	if len(next) != 1 || next[0].Origin().Input != found[0].Origin().Input {
		t.Fatalf("the next source has found %d files, or another one", len(next))
	}
	if gap := onlyGap(t, next[0], next[0].Start()); gap.Reason != "vanished" {
		t.Errorf("%+v", gap)
	}
}

// A file that was open, and is deleted between the end of a source and the start of the one that
// replaces it, is read to its end, says at once that this was all, and ends.
func TestDeletedAsASourceIsReplacedEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "1\n2\n")
	former, src := testSource(t, path, 0), testSource(t, path, 0)
	ctx, cancel := context.WithCancel(t.Context())
	found, done := make(chan sources.Input, 1), make(chan error)
	go func() { done <- former.Run(ctx, func(in sources.Input) { found <- in }) }()
	old := <-found
	cancel()
	must(t, <-done)
	must(t, os.Remove(path))

	src.endAfter = time.Second
	src.deps.Known = func() []sources.Stored {
		return []sources.Stored{{Input: old.Origin().Input, Position: old.Start()}}
	}
	src.Inherit(former)
	var next []sources.Input
	d := newDiscovery(src, func(in sources.Input) { next = append(next, in) })
	defer d.close()
	d.start()
	if len(next) != 1 || next[0].Origin().Input != old.Origin().Input {
		t.Fatalf("the next source has found %d files, or another one", len(next))
	}
	rd, err := next[0].Open(next[0].Start())
	must(t, err)
	defer rd.Close()
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read := 0
	for {
		must(t, rd.Wait(ctx))
		b := record.NewBatch()
		err := rd.Read(b)
		if p, _ := parsePosition(b.After); p.offset == 4 && !p.deleted {
			t.Errorf("read to the end, at %s", b.After)
		}
		read += len(b.Records)
		b.Release()
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	if read != 2 {
		t.Errorf("read %d of 2 lines", read)
	}
}

// onlyGap reads an input that gives a gap and then ends.
func onlyGap(t *testing.T, in sources.Input, pos record.Position) *sources.GapError {
	t.Helper()
	rd, err := in.Open(pos)
	must(t, err)
	defer rd.Close()
	r := &rig{t: t, positions: map[string]record.Position{}, ended: map[string]int{}}
	for range 2 {
		must(t, rd.Wait(t.Context()))
		b := record.NewBatch()
		err := rd.Read(b)
		if b.Before != pos || len(b.Records) > 0 {
			t.Errorf("read %d records from %s to %s", len(b.Records), b.Before, b.After)
		}
		pos = b.After
		r.take(in, b, err)
		b.Release()
	}
	if len(r.gaps) != 1 || len(r.ended) != 1 {
		t.Fatalf("gaps %v, ended %v, errors %v", r.gaps, r.ended, r.errs)
	}
	again, err := in.Open(pos)
	must(t, err)
	defer again.Close()
	b := record.NewBatch()
	defer b.Release()
	if err := again.Read(b); err != io.EOF || b.After != pos {
		t.Errorf("who was told is told %v again, at %s", err, b.After)
	}
	return r.gaps[0]
}
