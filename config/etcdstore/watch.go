package etcdstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// Watch sends what etcd holds, then an Event for every change. While etcd cannot be
// reached at the start, it sends what the cache file holds, or else an Err,
// and tries etcd on for ever. If the receiver is slow, an Event that it has not
// taken is replaced by a newer one. The channel is closed when ctx ends.
func (s *Store) Watch(ctx context.Context) <-chan config.Event {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan config.Event)
	updates, relist := make(chan update, 8), make(chan struct{}, 1)
	saves := make(chan *snapshot, 1)
	l := loop{s: s, updates: updates, relist: relist, cache: saves}
	s.work.Go(func() { <-either(ctx, s.ctx); cancel() })
	s.work.Go(func() { (&follower{s: s, updates: updates, relist: relist}).run(ctx) })
	saved := make(chan struct{})
	s.work.Go(func() { defer close(saved); s.keepCache(saves) })
	s.work.Go(func() {
		defer close(out)
		defer func() { close(saves); <-saved }()
		l.run(ctx, out)
	})
	return out
}

// either returns a channel that is closed when one of the two has ended.
func either(a, b context.Context) <-chan struct{} {
	done := make(chan struct{})
	stop := context.AfterFunc(b, func() { close(done) })
	context.AfterFunc(a, func() {
		if stop() {
			close(done)
		}
	})
	return done
}

// loop is the state of one Watch. Only its goroutine uses it.
type loop struct {
	s       *Store
	updates <-chan update
	relist  chan<- struct{}
	cache   chan *snapshot

	snap    *snapshot        // what is known; nil: nothing yet
	cached  bool             // it comes from the cache file
	err     error            // why etcd is not read; nil if it is, or nothing was heard yet
	kept    *snapshot        // what the cache file held at the start
	keptErr error            // why it holds nothing of use
	held    error            // why what etcd holds is not taken; nil if it is
	files   map[string]stamp // of the files that objects name, as they were read
	keys    int              // how often the cluster keys had changed
	pending *config.Event    // what the receiver has not taken yet
	then    *config.Event    // what is to follow upon pending
	sent    *config.Event    // the last Event that was made
	answer  bool             // a Reload waits for its Event
	late    bool             // etcd did not answer it in time
}

func (l *loop) run(ctx context.Context, out chan<- config.Event) {
	look := time.NewTicker(l.s.o.FilesEvery)
	defer look.Stop()
	late := time.NewTimer(l.s.o.StartWait)
	defer late.Stop()
	remind := time.NewTicker(l.s.o.VerifyEvery)
	defer remind.Stop()
	var answerBy <-chan time.Time
	l.kept, l.keptErr = l.s.readCache()
	for {
		var offer chan<- config.Event
		var event config.Event
		if l.pending != nil {
			offer, event = out, *l.pending
		}
		select {
		case <-ctx.Done():
			return
		case offer <- event:
			l.pending, l.then = l.then, nil
		case u := <-l.updates:
			l.take(u)
		case <-late.C:
			l.startWithout()
		case <-look.C:
			if l.snap != nil && l.sent != nil && (l.keysChanged() || l.filesChanged()) {
				l.send()
			}
		case <-remind.C:
			if l.held != nil {
				l.s.log.Error("what etcd holds is not taken", "error", l.held)
			}
		case <-l.s.reload:
			l.answer = true
			answerBy = time.After(l.s.o.StartWait)
			select {
			case l.relist <- struct{}{}:
			default: // it is asked for already
			}
		case <-answerBy:
			if l.answer {
				l.late = true
				l.send()
			}
		}
	}
}

// take takes what the follower says, and the newest if there is more of it.
func (l *loop) take(u update) {
	for more := true; more; {
		select {
		case next := <-l.updates:
			if next.snap != nil || u.snap == nil {
				u = next
			}
		default:
			more = false
		}
	}
	if u.err != nil {
		if l.err = u.err; l.answer {
			l.send()
		}
		return
	}
	if known := l.before(u.snap); l.held == nil || !l.answer {
		if held := l.s.behind(known, u.snap); held != nil {
			l.hold(known, held)
			return
		}
	}
	news := l.held != nil || l.sent == nil || l.sent.Err != nil || l.sent.Cached || l.answer || !sameObjects(l.s, l.snap, u.snap)
	changed := l.snap == nil || !sameValues(l.snap, u.snap)
	l.know(u.snap, false)
	l.err, l.held = nil, nil
	if changed {
		l.save()
	}
	if news {
		l.send()
	}
}

// before is what a listing follows upon: what was listed before, or what is in the cache; nil: nothing.
func (l *loop) before(now *snapshot) *snapshot {
	if l.snap == nil && l.kept != nil && l.s.comparable(l.kept, now) {
		return l.kept
	}
	return l.snap
}

// know makes a snapshot the one that Events are made of.
func (l *loop) know(snap *snapshot, cached bool) {
	l.snap, l.cached = snap, cached
	count, _, _ := snap.generation(l.s)
	l.s.known.Store(count)
}

// hold keeps what was known, because of what etcd holds now.
func (l *loop) hold(known *snapshot, why error) {
	news := l.held == nil || l.held.Error() != why.Error()
	begin := l.snap == nil
	l.err, l.held = nil, why
	switch {
	case begin:
		l.know(known, true)
		l.send()
	case news || l.answer:
		l.refuse()
	}
}

// refuse makes it the next Event that what etcd holds is not taken, behind one that waits.
func (l *loop) refuse() {
	event := config.Event{Err: l.held, Reloaded: l.answer}
	l.answer = false
	if l.pending == nil || l.pending.Config == nil {
		event.Reloaded = event.Reloaded || l.pending != nil && l.pending.Reloaded
		l.pending = &event
		return
	}
	l.then = &event
}

// save hands the snapshot to the cache, in place of one that is still waiting.
func (l *loop) save() {
	select {
	case <-l.cache:
	default:
	}
	l.cache <- l.snap
}

// sameValues reports whether two snapshots hold the same writes.
func sameValues(a, b *snapshot) bool {
	if len(a.values) != len(b.values) || a.cluster != b.cluster {
		return false
	}
	for key, r := range a.values {
		if other, ok := b.values[key]; !ok || !other.same(r) {
			return false
		}
	}
	return true
}

// sameObjects is sameValues for the keys that hold objects.
func sameObjects(s *Store, a, b *snapshot) bool {
	only := func(n *snapshot) *snapshot {
		out := &snapshot{values: map[string]raw{}, cluster: n.cluster}
		for key, r := range n.values {
			if _, _, ok := s.object(key); ok {
				out.values[key] = r
			}
		}
		return out
	}
	return sameValues(only(a), only(b))
}

// startWithout is called when etcd has not answered for a while.
func (l *loop) startWithout() {
	if l.sent != nil {
		return
	}
	if err := l.keptErr; err == nil {
		l.know(l.kept, true)
		l.s.log.Warn("etcd cannot be reached; what it held last is used", "error", l.unavailable(), "file", l.s.o.CacheFile)
	} else {
		l.err = fmt.Errorf("%w; and %w", l.unavailable(), err)
	}
	l.send()
}

// unavailable says why etcd is not read.
func (l *loop) unavailable() error {
	if l.err != nil {
		return l.err
	}
	return l.s.unavailable(nil)
}

// send makes what is known the Event that is offered.
func (l *loop) send() {
	event := config.Event{}
	if l.snap != nil {
		l.keys = l.s.keyChanges()
		event, l.files = l.s.event(l.snap)
		event.Cached = l.held == nil && (l.cached || l.err != nil || l.late) // if it is held, etcd is reached
	} else {
		event.Err = l.unavailable()
	}
	event.Reloaded = l.answer || l.pending != nil && l.pending.Reloaded
	l.pending, l.then, l.sent, l.answer, l.late = &event, nil, &event, false, false
	if l.held != nil {
		l.refuse()
	}
}

// event makes a configuration of all objects that can be used, and says as
// what it has found the files that they name.
func (s *Store) event(snap *snapshot) (config.Event, map[string]stamp) {
	objects := s.objects(snap)
	all, rejected := config.Assemble(objects)
	mine := all.ForNode(s.o.Node)
	// Before they are read, so that a change in between is seen at the next look.
	files := map[string]stamp{}
	for _, path := range mine.Files(s.o.Dir) {
		files[path] = stampOf(path)
	}
	resolved, more := mine.ResolveEach(s.o.Dir, config.ReadFile)
	return config.Event{Config: resolved, Rejected: append(rejected, more...), Hash: hash(objects)}, files
}

// hash is of the names and revisions of the objects: the same on all nodes, and
// nothing of what is in them can be guessed from it.
func hash(objects []config.Stored) string {
	h := sha256.New()
	for i := range objects {
		fmt.Fprintf(h, "%s %q %s\n", objects[i].Kind, objects[i].Name, objects[i].Etag)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// stamp tells two contents of a file apart without reading it; zero: it is not there.
type stamp struct {
	dev, ino     uint64
	size         int64
	mode         uint32
	mtime, ctime syscall.Timespec
}

func stampOf(path string) (out stamp) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err == nil {
		out = stamp{uint64(st.Dev), st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim}
	}
	return out
}

func (l *loop) filesChanged() bool {
	for path, was := range l.files {
		if stampOf(path) != was {
			return true
		}
	}
	return false
}

// keysChanged reports whether the cluster keys are others than before.
func (l *loop) keysChanged() bool {
	if l.s.o.Keys == nil {
		return false
	}
	if _, err := l.s.o.Keys.Refresh(); err != nil {
		l.s.log.Warn("the cluster keys cannot be read; those that were read before are used", "error", err)
	}
	return l.s.keyChanges() != l.keys
}
