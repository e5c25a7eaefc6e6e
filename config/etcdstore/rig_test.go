package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/seal"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// shared is an etcd of one member that tests share which do not harm it: each
// has a prefix of its own.
var shared struct {
	once sync.Once
	etcd *testbed.Etcd
	tb   keeper
}

// keeper cleans up when all tests are done.
type keeper struct{ cleanups []func() }

func (k *keeper) Helper()                   {}
func (k *keeper) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (k *keeper) Skipf(f string, a ...any)  { panic(fmt.Sprintf(f, a...)) }
func (k *keeper) Logf(f string, a ...any)   { fmt.Printf(f+"\n", a...) }
func (k *keeper) Cleanup(f func())          { k.cleanups = append(k.cleanups, f) }

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range shared.tb.cleanups {
		f()
	}
	os.Exit(code)
}

func sharedEtcd() *testbed.Etcd {
	shared.once.Do(func() { shared.etcd = testbed.StartEtcd(&shared.tb, testbed.EtcdOptions{}) })
	return shared.etcd
}

// rig is an etcd, and Stores on it.
type rig struct {
	t    *testing.T
	etcd *testbed.Etcd
	o    Options // of its Stores
}

func newRig(t *testing.T, etcd *testbed.Etcd) *rig {
	t.Helper()
	if etcd == nil {
		etcd = sharedEtcd()
	}
	log := slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &rig{t: t, etcd: etcd, o: Options{
		Endpoints: etcd.Endpoints(), Prefix: "/" + strings.ReplaceAll(t.Name(), "/", "-"), Log: log,
		CacheFile: filepath.Join(t.TempDir(), "etcd-cache"), Node: config.Node{Name: "n1"},
	}}
}

// testLog shows the log of a test that fails; what comes too late is dropped.
type testLog struct {
	mu   sync.Mutex
	t    *testing.T
	text strings.Builder
	set  bool
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.set {
		l.set = true
		l.t.Cleanup(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.t.Failed() {
				l.t.Log(l.text.String())
			}
		})
	}
	return l.text.Write(p)
}

// open makes a Store that is closed when the test ends.
func (r *rig) open(change ...func(*Options)) *Store {
	r.t.Helper()
	o := r.o
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Close)
	return s
}

// put writes a key by hand, as etcdctl does.
func (r *rig) put(key, value string) {
	r.t.Helper()
	if _, err := r.etcd.Client().Put(r.ctx(), r.o.Prefix+"/"+key, value); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) get(key string) string {
	r.t.Helper()
	res, err := r.etcd.Client().Get(r.ctx(), r.o.Prefix+"/"+key)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(res.Kvs) == 0 {
		return ""
	}
	return string(res.Kvs[0].Value)
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r.t.Cleanup(cancel)
	return ctx
}

var me = config.WriteOptions{Author: config.Author{Name: "ada", Via: "token"}}

// draft reads an object.
func draft(t testing.TB, kind config.Kind, text string) *config.Draft {
	t.Helper()
	d, err := config.Decode(kind, "test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &d
}

func source(t testing.TB, name, rest string) config.Change {
	t.Helper()
	return config.Change{Kind: config.KindSource, Name: name, Draft: draft(t, config.KindSource, fmt.Sprintf(`{name: %s, journald: {}%s}`, name, rest))}
}

func target(t testing.TB, name, password string) config.Change {
	t.Helper()
	text := fmt.Sprintf(`{"name": %q, "loki": {"url": "https://loki", "basicAuth": {"username": "u", "password": %q}}}`, name, password)
	return config.Change{Kind: config.KindTarget, Name: name, Draft: draft(t, config.KindTarget, text)}
}

// write writes, and must.
func (r *rig) write(s *Store, changes ...config.Change) config.Written {
	r.t.Helper()
	w, err := s.Write(r.ctx(), changes, me)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

// find returns an object of a listing, which must be there.
func (r *rig) find(s *Store, kind config.Kind, name string) config.Stored {
	r.t.Helper()
	all, err := s.List(r.ctx())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, o := range all {
		if o.Kind == kind && o.Name == name {
			return o
		}
	}
	r.t.Fatalf("%s %q is not among %d objects", kind, name, len(all))
	return config.Stored{}
}

// watcher is a Watch.
type watcher struct {
	t      *testing.T
	events <-chan config.Event
	stop   context.CancelFunc
}

func (r *rig) watch(s *Store) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{r.t, s.Watch(ctx), cancel}
	r.t.Cleanup(w.end)
	return w
}

// end stops it and waits until it has.
func (w *watcher) end() {
	w.stop()
	for range w.events {
	}
}

// next returns the next Event.
func (w *watcher) next() config.Event {
	w.t.Helper()
	return w.nextIn(time.Minute)
}

func (w *watcher) nextIn(limit time.Duration) config.Event {
	w.t.Helper()
	select {
	case e, ok := <-w.events:
		if ok && (e.Config == nil) == (e.Err == nil) {
			w.t.Fatalf("event has neither or both of a configuration and an error: %+v", e)
		}
		return e
	case <-time.After(limit):
		w.t.Fatalf("no event in %v", limit)
		return config.Event{}
	}
}

// until returns the next Event that is as wanted.
func (w *watcher) until(what string, ok func(config.Event) bool) config.Event {
	w.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	var e config.Event
	for time.Now().Before(deadline) {
		if e = w.nextIn(time.Until(deadline)); ok(e) {
			return e
		}
	}
	w.t.Fatalf("no event with %s; the last one was %s", what, names(e))
	return e
}

// names says what an Event holds.
func names(e config.Event) string {
	if e.Config == nil {
		return fmt.Sprintf("(%v)", e.Err)
	}
	var all []string
	for _, s := range e.Config.Sources {
		all = append(all, s.Name)
	}
	for _, t := range e.Config.Targets {
		all = append(all, t.Name)
	}
	return strings.Join(all, " ")
}

func (w *watcher) want(want string) config.Event {
	w.t.Helper()
	return w.until(want, func(e config.Event) bool { return names(e) == want })
}

// quiet demands that nothing is heard of for a while.
func (w *watcher) quiet(limit time.Duration) {
	w.t.Helper()
	select {
	case e := <-w.events:
		w.t.Fatalf("event without a change: %s", names(e))
	case <-time.After(limit):
	}
}

func newKeys(t testing.TB) (*seal.Keys, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.key")
	if _, err := seal.Create(path); err != nil {
		t.Fatal(err)
	}
	keys, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys, path
}

// eventually asks until it is so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
