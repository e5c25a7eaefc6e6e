package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// The leader is killed while five writers count in one label, each with the Etag
// of what it has read: no count is lost and none is made twice. Those who
// watch see the last one.
func TestLeaderKilledWhileCounting(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{Members: 3}))
	stores := []*Store{r.open(), r.open(), r.open()}
	w := r.watch(stores[0])
	r.write(stores[0], source(t, "n", ", labels: {n: '0'}"))
	var counted, unknown atomic.Int64
	var writers sync.WaitGroup
	const each = 12
	killed := make(chan struct{})
	for i := range 5 {
		s := stores[i%len(stores)]
		writers.Go(func() {
			for range each {
				if i == 0 && counted.Load() > each {
					select {
					case <-killed:
					default:
						r.etcd.Kill(r.etcd.Leader())
						close(killed)
					}
				}
				switch err := r.increment(s); {
				case err == nil:
					counted.Add(1)
				case errors.Is(err, config.ErrUnavailable):
					unknown.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	select {
	case <-killed:
	default:
		t.Fatal("the leader was never killed")
	}
	got := r.count(stores[1])
	t.Logf("counted %d, unknown %d, label says %d", counted.Load(), unknown.Load(), got)
	if int64(got) < counted.Load() || int64(got) > counted.Load()+unknown.Load() || counted.Load() == 0 {
		t.Fatalf("the label says %d", got)
	}
	w.until("the last count", func(e config.Event) bool {
		return e.Config != nil && len(e.Config.Sources) == 1 && e.Config.Sources[0].Labels["n"] == strconv.Itoa(got)
	})
}

// increment adds one to the label, whatever others do meanwhile.
func (r *rig) increment(s *Store) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		all, err := s.List(ctx)
		if err != nil {
			cancel()
			return err
		}
		n, _ := strconv.Atoi(all[0].Object.(*config.Source).Labels["n"])
		change := source(r.t, "n", fmt.Sprintf(", labels: {n: '%d'}", n+1))
		change.IfMatch = all[0].Etag
		_, err = s.Write(ctx, []config.Change{change}, me)
		cancel()
		if !errors.Is(err, config.ErrStale) {
			return err
		}
	}
}

func (r *rig) count(s *Store) int {
	r.t.Helper()
	n, err := strconv.Atoi(r.find(s, config.KindSource, "n").Object.(*config.Source).Labels["n"])
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// All members die: what runs goes on, calls say why they fail, and when the
// members are back, so is the watch.
func TestAllMembersDownAndBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{Members: 3}))
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	w.want("a")
	r.etcd.KillAll()
	brief := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	// What is said first may be how the connection ended, not yet why there is no other.
	eventually(t, "it is said that the connection is refused", func() bool {
		_, err := s.List(brief())
		wantError(t, err, config.ErrUnavailable)
		return strings.Contains(err.Error(), "connection refused")
	})
	_, err := s.Write(brief(), []config.Change{source(t, "b", "")}, me)
	wantError(t, err, config.ErrUnavailable)
	wantError(t, s.Report(brief(), config.Collector{ID: "n1"}), config.ErrUnavailable)
	eventually(t, "it is known that etcd is away", func() bool { _, err := s.Reached(); return errors.Is(err, config.ErrUnavailable) })
	// Asked, it says what it knows.
	s.Reload()
	if e := w.next(); !e.Reloaded || !e.Cached || names(e) != "a" {
		t.Errorf("reload while etcd is away: %+v", e)
	}
	r.etcd.Restart()
	begin := time.Now()
	r.write(s, source(t, "b", ""))
	w.until("both", func(e config.Event) bool { return names(e) == "a b" && !e.Cached })
	t.Logf("%v after etcd was back", time.Since(begin))
	if _, err := s.Reached(); err != nil {
		t.Errorf("reached: %v", err)
	}
}

// Who would wait for longer is told all the same, once it is clear that etcd does not answer: the
// commands wait for 10 s, and are to have the reason by then.
func TestPatientCallersAreToldInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
	r.write(r.open(), source(t, "a", ""))
	s := r.open(func(o *Options) { o.Timeout = time.Second })
	eventually(t, "it is connected", func() bool { _, err := s.List(r.ctx()); return err == nil })
	r.etcd.KillAll()
	began := time.Now()
	if _, err := s.List(r.ctx()); !errors.Is(err, config.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Write(r.ctx(), []config.Change{source(t, "b", "")}, me); !errors.Is(err, config.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second { // r.ctx has a minute
		t.Errorf("that took %v", took)
	}
}

// Two of three members die: the third one answers, but the watch on it must not be believed.
func TestLeaderLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{Members: 3}))
	last := (r.etcd.Leader() + 1) % 3
	s := r.open(func(o *Options) { o.Endpoints = o.Endpoints[last : last+1] })
	w := r.watch(s)
	w.next()
	for i := range 3 {
		if i != last {
			r.etcd.Kill(i)
		}
	}
	eventually(t, "it is known that there is no leader", func() bool { _, err := s.Reached(); return err != nil })
	r.etcd.Restart()
	r.put("sources/a", `{"name":"a","journald":{}}`)
	w.want("a")
	eventually(t, "it is known that there is one", func() bool { _, err := s.Reached(); return err == nil })
}

// While a node is cut off, objects change and their history is compacted away.
func TestCompactedWhileCutOff(t *testing.T) {
	for name, fault := range map[string]struct{ off, on func(*proxy) }{
		"closed":  {(*proxy).close, (*proxy).open},
		"blocked": {(*proxy).block, func(p *proxy) { p.unblock() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
			s, p := r.proxied()
			direct := r.open(func(o *Options) { o.CacheFile = "" })
			w := r.watch(s)
			r.write(direct, source(t, "a", ""), source(t, "b", ""))
			w.want("a b")
			fault.off(p)
			r.write(direct, config.Change{Kind: config.KindSource, Name: "a"})
			r.write(direct, source(t, "c", ""))
			r.etcd.Compact()
			r.write(direct, source(t, "d", ""))
			if name == "blocked" {
				// gRPC's pings find out; until then nothing can be known.
				eventually(t, "it is known that etcd is away", func() bool { _, err := s.Reached(); return err != nil })
			}
			fault.on(p)
			w.want("b c d")
		})
	}
}

// A node that starts while etcd is away has what etcd held last, and then what it holds.
func TestStartWithoutEtcd(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
	r.o.StartWait = 300 * time.Millisecond
	keys, _ := newKeys(t)
	r.o.Keys = keys
	first := r.open()
	w := r.watch(first)
	r.write(first, source(t, "a", ""), target(t, "out", "s3cret-of-the-target"))
	running := w.want("a out")
	w.end()
	first.Close()
	info, err := os.Stat(r.o.CacheFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("cache: %v, %v", info, err)
	}
	data, _ := os.ReadFile(r.o.CacheFile)
	if snap, err := decodeCache(data, r.o.Prefix); err != nil || len(snap.values) != 3 {
		t.Fatalf("cache: %v", err)
	} else {
		for _, v := range snap.values {
			if strings.Contains(string(v.value), "s3cret") {
				t.Errorf("a secret is in the cache: %s", v.value)
			}
		}
	}

	if all, err := ReadCache(r.o.CacheFile); err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Kind != config.KindTarget {
		t.Errorf("the cache holds %+v, %v", all, err)
	} else if text, err := config.RenderGiven(all[1]); err != nil || !strings.Contains(string(text), "(hidden)") || strings.Contains(string(text), "s3cret") {
		t.Errorf("without secrets: %s, %v", text, err)
	}

	r.etcd.KillAll()
	second := r.open()
	begin := time.Now()
	w = r.watch(second)
	e := w.next()
	if names(e) != "a out" || !e.Cached || e.Hash != running.Hash || e.Config.Targets[0].Loki.BasicAuth.Password.Reveal() != "s3cret-of-the-target" {
		t.Fatalf("from the cache: %+v", e)
	}
	if took := time.Since(begin); took > 30*time.Second { // w.next has a minute
		t.Errorf("a start without etcd took %v", took)
	}
	if _, err := second.Reached(); !errors.Is(err, config.ErrUnavailable) {
		t.Errorf("reached: %v", err)
	}
	r.etcd.Restart()
	e = w.next()
	if names(e) != "a out" || e.Cached || e.Hash != running.Hash {
		t.Fatalf("once etcd is back: %+v", e)
	}
	r.write(second, source(t, "b", ""))
	w.want("a b out")
	w.end()

	// Without a cache, with another prefix's, or with a damaged one there is nothing to start with, which is said; etcd is waited for.
	for name, damage := range map[string]func(){
		"no copy of what it held": func() { os.Remove(r.o.CacheFile) },
		"is of the prefix":        func() { rewrite(t, r.o.CacheFile, func(c *snapshot) string { return "/other" }) },
		"is damaged": func() {
			rewrite(t, r.o.CacheFile, func(*snapshot) string { return r.o.Prefix })
			data, _ := os.ReadFile(r.o.CacheFile)
			data[len(data)/2] ^= 1
			os.WriteFile(r.o.CacheFile, data, 0o600)
		},
	} {
		r.etcd.KillAll()
		damage()
		s := r.open()
		w = r.watch(s)
		if e := w.next(); !errors.Is(e.Err, config.ErrUnavailable) || !strings.Contains(e.Err.Error(), name) {
			t.Fatalf("%s: %+v", name, e)
		}
		eventually(t, "it is said why etcd cannot be reached", func() bool {
			_, err := s.Reached()
			return err != nil && strings.Contains(err.Error(), "connection refused")
		})
		r.etcd.Restart()
		w.want("a b out")
		w.end()
	}
}

// rewrite writes a cache file anew, with the prefix that f says.
func rewrite(t *testing.T, path string, f func(*snapshot) string) {
	t.Helper()
	snap := &snapshot{values: map[string]raw{}}
	prefix := f(snap)
	snap.values[prefix+"/sources/x"] = raw{value: []byte(`{"name":"x","journald":{}}`), mod: 1, ver: 1}
	data, err := encodeCache(snap, prefix)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The cache follows what changes, and a disk that refuses it is no reason to stop.
func TestCacheIsKeptCurrent(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	w := r.watch(s)
	w.next()
	for i := range 3 {
		r.write(s, source(t, fmt.Sprintf("s%d", i), ""))
		eventually(t, "the cache has it", func() bool {
			snap, err := s.readCache()
			return err == nil && len(s.objects(snap)) == i+1
		})
	}
	bad := r.open(func(o *Options) { o.CacheFile = "/proc/no/such/folder/cache" })
	if e := r.watch(bad).next(); len(e.Config.Sources) != 3 {
		t.Errorf("without a place for the cache: %+v", e)
	}
	eventually(t, "it says that there is no cache", func() bool { return bad.CacheErr() != nil })
}

// An etcd whose quota is used up says so to whoever writes, and reading, watching and starting go on.
func TestSpaceIsUsedUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{Args: []string{"--quota-backend-bytes=1000000"}}))
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	w.want("a")
	for {
		if _, err := r.etcd.Client().Put(r.ctx(), "/junk", strings.Repeat("x", 200_000)); err != nil {
			break
		}
	}
	_, err := s.Write(r.ctx(), []config.Change{source(t, "b", "")}, me)
	if wantError(t, err, config.ErrReadOnly); !strings.Contains(err.Error(), "space") {
		t.Errorf("%v", err)
	}
	r.find(s, config.KindSource, "a")
	if e := r.watch(r.open()).next(); names(e) != "a" || e.Cached {
		t.Errorf("a start: %s, %v", names(e), e.Cached)
	}
}
