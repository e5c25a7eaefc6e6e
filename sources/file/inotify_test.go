package file

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// await takes events until one has that name.
func (n *notifier) await(t *testing.T, name string) (all []event) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		for _, e := range n.take() {
			if all = append(all, e); e.name == name {
				return all
			}
		}
		select {
		case <-n.ready:
		case <-deadline:
			t.Fatalf("no event of %q among %v", name, all)
		}
	}
}

// open returns what the instance is, nil if it is not open.
func (i *instance) open() *os.File {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.file
}

// stall has events stay in the kernel, until it is called again and there is another one.
func (i *instance) stall(is bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stalled = is
}

// lose takes all events that are in the kernel, and has it that they were too many.
func (i *instance) lose(t *testing.T) {
	i.mu.Lock()
	defer i.mu.Unlock()
	buf := make([]byte, 64<<10)
	for {
		if _, err := unix.Read(i.fd, buf); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	i.hand(event{watch: -1, mask: unix.IN_Q_OVERFLOW})
	i.stalled = false
}

func join2(t *testing.T, at *instance) (a, b *notifier) {
	t.Helper()
	a, err := newNotifier(at)
	must(t, err)
	b, err = newNotifier(at)
	must(t, err)
	return a, b
}

// One instance serves all: each is told of its own directories, a directory of two is watched until both
// have left it, and the instance goes with the last of them.
func TestSourcesShareOneInotifyInstance(t *testing.T) {
	t.Parallel()
	var at instance
	common, own := t.TempDir(), t.TempDir()
	a, b := join2(t, &at)
	wa, err := a.add(common)
	must(t, err)
	wb, err := b.add(common)
	must(t, err)
	if wa != wb {
		t.Errorf("one directory has the watches %d and %d", wa, wb)
	}
	_, err = a.add(own)
	must(t, err)
	write(t, filepath.Join(own, "mine"), "")
	write(t, filepath.Join(common, "1"), "")
	if got := a.await(t, "1"); got[0].name != "mine" {
		t.Errorf("a was told %v", got)
	}
	for _, e := range b.await(t, "1") {
		if e.name == "mine" {
			t.Error("b was told of a's directory")
		}
	}
	a.remove(wa)
	write(t, filepath.Join(common, "2"), "")
	b.await(t, "2")
	a.close()
	write(t, filepath.Join(common, "3"), "")
	b.await(t, "3")
	file := at.open()
	b.close()
	b.close()
	if _, err := file.Stat(); at.open() != nil || !errors.Is(err, os.ErrClosed) {
		t.Error("the instance is still open, and nobody uses it")
	}
	c, err := newNotifier(&at)
	must(t, err)
	defer c.close()
	_, err = c.add(common)
	must(t, err)
	write(t, filepath.Join(common, "4"), "")
	c.await(t, "4")
}

// Events that the kernel had to drop are everybody's loss; those that one source leaves waiting
// for too long are its own.
func TestOverflowReachesEverybody(t *testing.T) {
	t.Parallel()
	var at instance
	a, b := join2(t, &at)
	defer a.close()
	defer b.close()
	at.mu.Lock()
	at.hand(event{watch: -1, mask: unix.IN_Q_OVERFLOW})
	at.mu.Unlock()
	for _, n := range []*notifier{a, b} {
		if got := n.take(); len(got) != 1 || got[0].mask != unix.IN_Q_OVERFLOW {
			t.Errorf("got %v", got)
		}
	}
	watch, err := a.add(t.TempDir())
	must(t, err)
	at.mu.Lock()
	for range queueMost + 1 {
		at.hand(event{watch: watch, mask: unix.IN_CREATE, name: "x"})
	}
	at.mu.Unlock()
	if got := a.take(); len(got) != 1 || got[0].mask != unix.IN_Q_OVERFLOW {
		t.Errorf("%d events wait, the first of them %v", len(got), got[0])
	}
	if got := b.take(); len(got) > 0 {
		t.Errorf("the other one got %v", got)
	}
}

// Sources come and go while events do; what each is told is whole.
func TestNotifiersComeAndGo(t *testing.T) {
	t.Parallel()
	var at instance
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				n, err := newNotifier(&at)
				if err != nil {
					t.Error(err)
					return
				}
				f, err := os.CreateTemp(dir, "")
				if err != nil {
					t.Error(err)
				}
				f.Close()
				if _, err := n.add(dir); err != nil {
					t.Error(err)
				}
				name := f.Name() + ".1"
				if err := os.Rename(f.Name(), name); err != nil {
					t.Error(err)
				}
				n.await(t, filepath.Base(name))
				n.close()
			}
		})
	}
	all.Wait()
	if at.open() != nil {
		t.Error("the instance is still open")
	}
}

// All file sources of a process take one inotify instance.
func TestManySourcesOneInstance(t *testing.T) {
	count := func() (n int) {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		for _, e := range entries {
			if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == "anon_inode:inotify" {
				n++
			}
		}
		return n
	}
	before := count()
	var at instance
	for range 20 {
		r := newRig(t, filepath.Join(t.TempDir(), "*.log"))
		tune := r.tune
		r.tune = func(s *source) { tune(s); s.inotify = &at }
		r.start()
		write(t, filepath.Join(filepath.Dir(r.cfg.File.Paths[0]), "a.log"), "1\n")
		r.expect("1")
	}
	if got := count() - before; got > 1 {
		t.Errorf("20 sources take %d inotify instances", got)
	}
	runtime.KeepAlive(&at)
}

// Who comes later to a directory is not told of what happened there before.
func TestLatecomersAreNotToldOfWhatWas(t *testing.T) {
	t.Parallel()
	var at instance
	dir := t.TempDir()
	a, b := join2(t, &at)
	defer a.close()
	defer b.close()
	_, err := a.add(dir)
	must(t, err)
	at.stall(true)
	write(t, filepath.Join(dir, "before"), "x")
	_, err = b.add(dir)
	must(t, err)
	at.stall(false)
	write(t, filepath.Join(dir, "after"), "x")
	if all := a.await(t, "after"); len(all) != 2 || all[0].name != "before" {
		t.Errorf("who was there first got %v", all)
	}
	if all := b.await(t, "after"); len(all) != 1 {
		t.Errorf("who came later got %v", all)
	}
}
