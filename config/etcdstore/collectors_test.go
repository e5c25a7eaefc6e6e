package etcdstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
)

var (
	prefixed  = clientv3.WithPrefix()
	countOnly = clientv3.WithCountOnly()
)

func (r *rig) collector(s *Store, id string) config.Collector {
	r.t.Helper()
	all, err := s.Collectors(r.ctx())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range all {
		if c.ID == id {
			return c
		}
	}
	return config.Collector{}
}

func (r *rig) report(s *Store, c config.Collector) {
	r.t.Helper()
	if err := s.Report(r.ctx(), c); err != nil {
		r.t.Fatal(err)
	}
}

// A node is online while it lives, then stale, then offline, and gone when it is forgotten.
func TestCollectors(t *testing.T) {
	r := newRig(t, nil)
	r.o.LeaseTTL = time.Second
	reader := r.open(func(o *Options) { o.OfflineAfter = 2 * time.Second })
	if all, err := reader.Collectors(r.ctx()); err != nil || all == nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	one, two := r.open(), r.open()
	r.report(two, config.Collector{ID: "n2", PipelineHealth: config.HealthHealthy})
	r.report(one, config.Collector{ID: "n1", PipelineHealth: config.HealthDegraded, Version: "v1", NodeLabels: map[string]string{"a": "b"}})
	status := func(id, want string) func() bool {
		return func() bool { return r.collector(reader, id).AlloyStatus == want }
	}
	// Whoever could not be run for as long as its lease is stale until it has another.
	eventually(t, "both are online", func() bool { return status("n1", config.AlloyOnline)() && status("n2", config.AlloyOnline)() })
	all, err := reader.Collectors(r.ctx())
	if err != nil || len(all) != 2 || all[0].ID != "n1" || all[0].PipelineHealth != config.HealthDegraded || all[0].NodeLabels["a"] != "b" || time.Since(all[0].LastSeen) > time.Minute {
		t.Fatalf("%+v, %v", all, err)
	}
	if known, online, ok := one.Fleet(); !ok || known != 2 || online != 2 {
		t.Errorf("n1 has seen %d nodes, %d of them alive (%v)", known, online, ok)
	}
	if known, online, ok := reader.Fleet(); ok {
		t.Errorf("who has not reported has seen %d, %d", known, online)
	}
	// It lives on without reporting.
	time.Sleep(2500 * time.Millisecond) // longer than its lease: etcd gives none below 2 s
	eventually(t, "n1 is online without reporting", status("n1", config.AlloyOnline))
	reported := time.Now()
	r.report(one, config.Collector{ID: "n1", PipelineHealth: config.HealthHealthy})
	one.Close()
	ended := r.collector(reader, "n1").AlloyStatus
	if soon := time.Since(reported) < 2*time.Second; soon && ended != config.AlloyStale {
		t.Errorf("n1 is %s just after it has ended", ended)
	}
	eventually(t, "n1 is offline", status("n1", config.AlloyOffline))
	r.report(two, config.Collector{ID: "n2", PipelineHealth: config.HealthDegraded})
	if known, online, _ := two.Fleet(); known != 2 || online != 1 {
		t.Errorf("n2 has seen %d nodes, %d of them alive", known, online)
	}
	r.report(two, config.Collector{ID: "n2", PipelineHealth: config.HealthHealthy})
	eventually(t, "n2 is online", status("n2", config.AlloyOnline))
	if c := r.collector(reader, "n1"); c.PipelineHealth != config.HealthHealthy {
		t.Errorf("%+v", c)
	}
	if err := reader.Forget(r.ctx(), "n1"); err != nil {
		t.Fatal(err)
	}
	wantError(t, reader.Forget(r.ctx(), "n1"), config.ErrNotFound)
	if c := r.collector(reader, "n1"); c.ID != "" {
		t.Errorf("forgotten: %+v", c)
	}
	r.put("collectors/future", `{"format": 9}`)
	if c := r.collector(reader, "future"); c.PipelineHealth != config.HealthUnknown || c.AlloyStatus != config.AlloyOffline {
		t.Errorf("%+v", c)
	}
	if err := reader.Report(r.ctx(), config.Collector{ID: "a/b"}); err == nil {
		t.Error("a name with a slash is taken")
	}
}

// A node whose clock is wrong, or was set, is stale and offline as soon as any other.
func TestCollectorsOfWrongClocks(t *testing.T) {
	r := newRig(t, nil)
	s := r.open(func(o *Options) { o.OfflineAfter = 2 * time.Second })
	for _, ahead := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
		began := time.Now()
		r.collector(s, "n1") // etcd is looked at
		r.put("collectors/n1", fmt.Sprintf(`{"format": %d, "written": %q, "collector": {}}`, valueFormat, time.Now().Add(ahead).UTC().Format(time.RFC3339Nano)))
		c := r.collector(s, "n1")
		if quick := time.Since(began) < time.Second; quick && c.AlloyStatus != config.AlloyStale {
			t.Errorf("with a clock that is %v ahead, just now: %s", ahead, c.AlloyStatus)
		}
		if off := time.Since(c.LastSeen); off < -time.Second || off > time.Minute {
			t.Errorf("with a clock that is %v ahead: seen %v ago", ahead, off)
		}
		eventually(t, "it is offline", func() bool { return r.collector(s, "n1").AlloyStatus == config.AlloyOffline })
		// It was written after began, which is known to within a look: an eighth of OfflineAfter.
		if took := time.Since(began); took < 2*time.Second-250*time.Millisecond {
			t.Errorf("with a clock that is %v ahead: offline after %v", ahead, took)
		}
	}
}

// What changes all the time is written when it is time for it, what matters at
// once; and what is counted in between is not lost.
func TestReportsAreWrittenWhenTheyMatter(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	rev := func() int64 {
		t.Helper()
		res, err := r.etcd.Client().Get(r.ctx(), r.o.Prefix+"/collectors/n1")
		if err != nil || len(res.Kvs) != 1 {
			t.Fatalf("%v, %v", res, err)
		}
		return res.Kvs[0].Version
	}
	c := config.Collector{ID: "n1", PipelineHealth: config.HealthHealthy, Sources: []config.CollectorSource{{Name: "s"}}, Targets: []config.CollectorTarget{{Name: "a"}}}
	r.report(s, c)
	for i := range 5 {
		c.ExporterSendFailedDelta, c.ExporterQueueSize, c.PipelineCheckedAt = 1, int64(i), time.Now()
		c.Targets = []config.CollectorTarget{{Name: "a", LagSeconds: float64(i), Rate: float64(i)}}
		c.Sources = []config.CollectorSource{{Name: "s", Rate: float64(i)}}
		r.report(s, c)
	}
	if v := rev(); v != 1 {
		t.Fatalf("written %d times", v)
	}
	c.PipelineHealth = config.HealthError
	r.report(s, c)
	if got := r.collector(s, "n1"); rev() != 2 || got.ExporterSendFailedDelta != 6 || got.PipelineHealth != config.HealthError {
		t.Fatalf("version %d: %+v", rev(), got)
	}
	// Another one that writes often.
	r.o.ReportEvery = 50 * time.Millisecond
	s = r.open()
	r.report(s, c)
	was := rev()
	eventually(t, "it is written without news", func() bool { r.report(s, c); return rev() > was })
}

// A lease that is lost is taken anew; and a node that was forgotten comes back.
func TestLeaseIsTakenAnew(t *testing.T) {
	r := newRig(t, nil)
	r.o.ReportEvery, r.o.LeaseTTL = 100*time.Millisecond, 3*time.Second
	s := r.open()
	c := config.Collector{ID: "n1"}
	r.report(s, c)
	lease := func() int64 {
		res, err := r.etcd.Client().Get(r.ctx(), r.o.Prefix+"/alive/n1")
		if err != nil || len(res.Kvs) == 0 {
			return 0
		}
		return res.Kvs[0].Lease
	}
	eventually(t, "there is a lease", func() bool { return lease() != 0 })
	first := lease()
	if _, err := r.etcd.Client().Revoke(r.ctx(), clientv3.LeaseID(first)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is another lease", func() bool { return lease() != 0 && lease() != first })
	if err := errors.Join(s.Forget(r.ctx(), "n1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is online again", func() bool {
		r.report(s, c)
		return r.collector(s, "n1").AlloyStatus == config.AlloyOnline
	})
}

// Two daemons that have one name are told of each other, and one that takes over from one that ended is not.
func TestTwoDaemonsWithOneName(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.o.ReportEvery = time.Nanosecond // each one is due
	one, two := r.open(), r.open()
	twins := func() bool {
		for _, u := range r.collector(one, "n1").UnhealthyComponents {
			if u.State == stateDuplicate {
				return true
			}
		}
		return false
	}
	report := func(s *Store) { r.report(s, config.Collector{ID: "n1", PipelineHealth: config.HealthHealthy}) }
	for range 5 {
		if report(one); twins() {
			t.Fatal("one daemon is taken for two")
		}
	}
	eventually(t, "two daemons are seen", func() bool { report(two); report(one); return twins() })
	if got := r.collector(one, "n1").PipelineHealth; got != config.HealthDegraded {
		t.Errorf("health %s", got)
	}
	two.Close()
	eventually(t, "one daemon is left", func() bool { report(one); return !twins() })
}
