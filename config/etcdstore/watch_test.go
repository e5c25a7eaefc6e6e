package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// Every change comes as one Event, however many objects a write changes, and
// soon. What does not change an object is not heard of.
func TestWatch(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	empty := w.next()
	if names(empty) != "" || empty.Cached {
		t.Fatalf("of an empty etcd: %+v", empty)
	}
	bundle := draft(t, config.KindTLSBundle, fmt.Sprintf(`{"name": "b", "caPem": %q}`, testbed.NewCA(t, "b").PEM))
	r.write(s, source(t, "a", ", logFormat: 'regex:f'"), source(t, "c", ""),
		config.Change{Kind: config.KindFormat, Name: "f", Draft: draft(t, config.KindFormat, `{name: f, regex: '(?P<message>.*)'}`)},
		config.Change{Kind: config.KindTLSBundle, Name: "b", Draft: bundle})
	e := w.next()
	if names(e) != "a c" || len(e.Config.TLSBundles) != 1 || len(e.Rejected) > 0 || e.Hash == empty.Hash || len(e.Hash) != 64 {
		t.Fatalf("after one write: %s, rejected %v", names(e), e.Rejected)
	}
	// By hand, and by another node.
	r.put("sources/d", `{"name":"d","journald":{}}`)
	w.want("a c d")
	other := r.open(func(o *Options) { o.Node.Name = "n2" })
	r.write(other, config.Change{Kind: config.KindSource, Name: "c"})
	e = w.want("a d")
	if o := r.watch(other).next(); o.Hash != e.Hash || names(o) != "a d" {
		t.Fatalf("another node has %s, hash %s, not %s", names(o), o.Hash, e.Hash)
	}
	// Reports and unknown keys are no change of the configuration.
	if err := s.Report(r.ctx(), config.Collector{ID: "n1"}); err != nil {
		t.Fatal(err)
	}
	r.put("pipelines/x", "y")
	w.quiet(300 * time.Millisecond)
	s.Reload()
	if e := w.next(); !e.Reloaded || names(e) != "a d" {
		t.Fatalf("reload: %+v", e)
	}
}

// How long a write takes to be heard of: printed, not judged.
func TestWatchLatency(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	w.next()
	var all []time.Duration
	for i := range 100 {
		name := fmt.Sprintf("s%d", i)
		begin := time.Now()
		r.write(s, source(t, name, ""))
		w.until(name, func(e config.Event) bool { return len(e.Config.Sources) == i+1 })
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	t.Logf("write to event, with up to 100 objects: median %v, 99th percentile %v", all[50], all[99])
}

func TestNodesAreChosen(t *testing.T) {
	r := newRig(t, nil)
	s := r.open(func(o *Options) { o.Node = config.Node{Name: "n1", Labels: map[string]string{"role": "canary"}} })
	r.write(s, source(t, "all", ""), source(t, "mine", `, nodes: ["n?"]`), source(t, "theirs", `, nodes: [m1]`), source(t, "canary", `, nodeSelector: {role: canary}`))
	r.watch(s).want("all canary mine")
}

// Files that objects name are this node's: one that is missing takes only what
// needs it, and a change of it is noticed.
func TestNamedFiles(t *testing.T) {
	r := newRig(t, nil)
	r.o.Dir, r.o.FilesEvery = t.TempDir(), 50*time.Millisecond
	s := r.open()
	text := `{"name": "out", "loki": {"url": "http://loki", "bearerTokenFile": "token"}}`
	r.write(s, source(t, "a", ""), config.Change{Kind: config.KindTarget, Name: "out", Draft: draft(t, config.KindTarget, text)})
	w := r.watch(s)
	e := w.want("a")
	if len(e.Rejected) != 1 || !strings.Contains(e.Rejected[0].Reason, "no such file") {
		t.Fatalf("rejected: %+v", e.Rejected)
	}
	for _, token := range []string{"one", "two"} {
		path := filepath.Join(r.o.Dir, "token")
		if err := errors.Join(os.WriteFile(path+".new", []byte(token+"\n"), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
		w.until(token, func(e config.Event) bool {
			return len(e.Config.Targets) == 1 && e.Config.Targets[0].Loki.BearerToken.Reveal() == token && len(e.Rejected) == 0
		})
	}
	if err := os.Remove(filepath.Join(r.o.Dir, "token")); err != nil {
		t.Fatal(err)
	}
	w.want("a")
}

// A file that an object names stays known while the object is for other nodes, cannot be used here,
// or is not understood at all: it is kept from sources all the same.
func TestNamedFilesOfObjectsThatAreNotUsed(t *testing.T) {
	r := newRig(t, nil)
	r.o.Dir = t.TempDir()
	s := r.open()
	r.write(s, source(t, "a", ""),
		config.Change{Kind: config.KindTarget, Name: "theirs", Draft: draft(t, config.KindTarget, `{"name": "theirs", "nodes": ["m1"], "loki": {"url": "http://loki", "bearerTokenFile": "/etc/token"}}`)},
		config.Change{Kind: config.KindTLSBundle, Name: "broken", Draft: draft(t, config.KindTLSBundle, `{"name": "broken", "certFile": "missing.pem", "keyFile": "node.key"}`)})
	r.put("targets/odd", `{"name": "odd", "not": "known", "loki": {"url": "http://loki", "basicAuth": {"username": "u", "passwordFile": "/etc/pw"}}}`)
	want := []string{"/etc/pw", "/etc/token", filepath.Join(r.o.Dir, "missing.pem"), filepath.Join(r.o.Dir, "node.key")}
	slices.Sort(want)
	r.watch(s).until("all files", func(e config.Event) bool { return slices.Equal(e.Config.NamedFiles(), want) })
}

// A receiver that takes nothing finds the newest, and nothing waits for it.
func TestSlowReceiver(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	for i := range 20 {
		r.write(s, source(t, fmt.Sprintf("s%02d", i), ""))
	}
	taken := 0
	w.until("all", func(e config.Event) bool { taken++; return len(e.Config.Sources) == 20 })
	if taken > 10 {
		t.Errorf("%d events were kept", taken)
	}
}

// A change that the watch does not tell of is found by looking: here the watch
// has never been told of the part of the keys that changes.
func TestVerification(t *testing.T) {
	r := newRig(t, nil)
	r.o.VerifyEvery = 50 * time.Millisecond
	s := r.open()
	r.write(s, source(t, "a", ""))
	snap, err := s.list(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{s: s, snap: snap}
	verify := func(want string) {
		t.Helper()
		err := f.verify(r.ctx())
		if want == "" && err != nil || want != "" && (err == nil || !errors.As(err, new(missedError)) || !strings.Contains(err.Error(), want)) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	verify("")
	r.put("collectors/x", "not watched")
	verify("")
	r.write(s, source(t, "a", ", minLevel: info"))
	verify("newer keys")
	if f.snap, err = s.list(r.ctx()); err != nil {
		t.Fatal(err)
	}
	verify("")
	r.put("sources/b", "x")
	verify("holds 3 keys, the watch has told of 2")
	f.snap.values["x"], f.snap.revision = raw{}, f.snap.revision+1 // as many, and as new
	verify("")
	f.snap.revision += 1000
	verify("restored")
	f.snap.revision, f.snap.cluster = snap.revision, 1
	verify("restored")

	// And the follower does it by itself: it is told nothing by a watch of another prefix.
	updates := make(chan update, 8)
	f = &follower{s: s, updates: updates, relist: make(chan struct{}), through: func(clientv3.WatchChan) clientv3.WatchChan { return nil }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	defer func() { cancel(); <-done }()
	first := <-updates
	r.put("sources/c", "x")
	for deadline := time.After(time.Minute); ; {
		select {
		case u := <-updates:
			if u.snap != nil && len(u.snap.values) > len(first.snap.values) {
				return
			}
		case <-deadline:
			t.Fatal("the change was never found")
		}
	}
}

// A change that is under way is not one that was missed: nothing is listed anew for it.
func TestVerificationWaitsForTheWatch(t *testing.T) {
	r := newRig(t, nil)
	r.o.VerifyEvery = 600 * time.Millisecond
	s := r.open()
	r.write(s, source(t, "a", ""))
	// On a machine that stands still for longer than VerifyEvery a change may be under way for
	// that long too. It does not do so each time, while there always is a change under way.
	var all []int
	for range 5 {
		begun := r.listings(s)
		if begun == 1 {
			return
		}
		all = append(all, begun)
	}
	t.Errorf("everything was listed %v times", all)
}

// listings counts how often everything is listed while there always is a change under way.
func (r *rig) listings(s *Store) int {
	const late, changes = 100 * time.Millisecond, 30
	begun := 0
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	updates := make(chan update, 8)
	f := &follower{s: s, updates: updates, relist: make(chan struct{}), through: func(from clientv3.WatchChan) clientv3.WatchChan {
		begun++
		return passed(ctx, from, func(*clientv3.WatchResponse) { <-time.After(late) }) // the network takes that long
	}}
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	for i := range changes {
		r.put("sources/b", fmt.Sprint(i))
		r.untilTold(updates, "sources/b", fmt.Sprint(i))
	}
	cancel()
	<-done
	return begun
}

// passed hands a watch on, and calls f for each of its answers.
func passed(ctx context.Context, from clientv3.WatchChan, f func(*clientv3.WatchResponse)) clientv3.WatchChan {
	to := make(chan clientv3.WatchResponse)
	go func() {
		defer close(to)
		for res := range from {
			f(&res)
			select {
			case to <- res:
			case <-ctx.Done():
			}
		}
	}()
	return to
}

// untilTold waits until an update has a value.
func (r *rig) untilTold(updates <-chan update, key, value string) {
	r.t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case u := <-updates:
			if u.snap != nil && string(u.snap.values[r.o.Prefix+"/"+key].value) == value {
				return
			}
		case <-deadline:
			r.t.Fatalf("%s never was %q", key, value)
		}
	}
}

// While nothing changes, verification lists nothing anew.
func TestVerificationIsQuiet(t *testing.T) {
	r := newRig(t, nil)
	r.o.VerifyEvery = 20 * time.Millisecond
	s := r.open()
	r.write(s, source(t, "a", ""))
	updates := make(chan update, 8)
	f := &follower{s: s, updates: updates, relist: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	<-updates
	select {
	case u := <-updates:
		t.Errorf("an update without a change: %+v", u)
	case <-time.After(time.Second): // many times VerifyEvery
	}
	cancel()
	<-done
}

// A thousand objects are listed in pages, at one revision, and one change of them comes soon.
func TestThousandObjects(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	for i := 0; i < 1000; i += 100 {
		var ops []clientv3.Op
		for j := range 100 {
			name := fmt.Sprintf("s%04d", i+j)
			ops = append(ops, clientv3.OpPut(s.objectKey(config.KindSource, name), fmt.Sprintf(`{"name":%q,"journald":{"units":[%q]}}`, name, name)))
		}
		if _, err := r.etcd.Client().Txn(r.ctx()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	w := r.watch(s)
	if e := w.next(); len(e.Config.Sources) != 1000 {
		t.Fatalf("%d sources, rejected %d", len(e.Config.Sources), len(e.Rejected))
	}
	first := time.Since(begin)
	begin = time.Now()
	r.put("sources/s0500", `{"name":"s0500","journald":{},"minLevel":"error"}`)
	w.until("the change", func(e config.Event) bool { return e.Config.Sources[500].MinLevel != 0 })
	t.Logf("1000 objects: first event after %v, a change after %v", first, time.Since(begin))
}
