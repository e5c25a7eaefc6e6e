package etcdstore

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// What many nodes must not do to an etcd: docs/scale.md.

// The configuration has not changed for long, the reports of others have, and
// their history is compacted away: a node that comes back goes on where it was.
func TestQuietWatchIsResumed(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{Args: []string{"--watch-progress-notify-interval=100ms"}}))
	s, p := r.proxied()
	r.put("sources/a", "old")
	ctx, cancel := context.WithCancel(context.Background())
	var begun, progress atomic.Int64
	updates := make(chan update, 8)
	f := &follower{s: s, updates: updates, relist: make(chan struct{}), through: func(from clientv3.WatchChan) clientv3.WatchChan {
		begun.Add(1)
		return passed(ctx, from, func(res *clientv3.WatchResponse) { progress.Store(res.Header.Revision) })
	}}
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	defer func() { cancel(); <-done }()
	r.untilTold(updates, "sources/a", "old")
	var last int64
	for range 50 {
		res, err := r.etcd.Client().Put(r.ctx(), r.o.Prefix+"/collectors/other", "report")
		if err != nil {
			t.Fatal(err)
		}
		last = res.Header.Revision
	}
	eventually(t, "the watch is told how far it is", func() bool { return progress.Load() >= last })
	r.etcd.Compact()
	p.close()
	r.put("sources/a", "new")
	p.open()
	r.untilTold(updates, "sources/a", "new")
	if n := begun.Load(); n != 1 {
		t.Errorf("everything was listed %d times", n)
	}
}

// An etcd that answers too late, for it is asked by too many, has as many leases as nodes all the same.
func TestSlowEtcdHasOneLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, testbed.StartEtcd(t, testbed.EtcdOptions{}))
	p := newProxy(t, r.etcd.Endpoints()[0])
	s := r.open(func(o *Options) { o.Endpoints, o.Timeout = []string{p.endpoint()}, 300*time.Millisecond })
	eventually(t, "it is connected", func() bool { _, err := s.List(r.ctx()); return err == nil })
	leases := func() int {
		res, err := r.etcd.Client().Leases(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		return len(res.Leases)
	}
	release := p.hold()
	defer release()
	s.Report(r.ctx(), config.Collector{ID: "n1"}) // an error: nobody answers
	eventually(t, "there is a lease", func() bool { return leases() > 0 })
	time.Sleep(3 * time.Second) // in which it is tried several times
	release()
	eventually(t, "it is online", func() bool {
		return s.Report(r.ctx(), config.Collector{ID: "n1"}) == nil && r.collector(r.open(), "n1").AlloyStatus == config.AlloyOnline // s has too little time for it
	})
	if n := leases(); n != 1 {
		t.Errorf("there are %d leases", n)
	}
}

// A report is one key of etcd's history, not two.
func TestReportWritesOneKey(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	version := func() int64 {
		res, err := r.etcd.Client().Get(r.ctx(), r.o.Prefix+"/alive/n1")
		if err != nil || len(res.Kvs) == 0 {
			return 0
		}
		return res.Kvs[0].Version
	}
	r.report(s, config.Collector{ID: "n1"})
	eventually(t, "it is alive", func() bool { return version() > 0 })
	was := version()
	for _, health := range []string{config.HealthError, config.HealthHealthy, config.HealthDegraded} {
		r.report(s, config.Collector{ID: "n1", PipelineHealth: health})
	}
	if v := version(); v != was {
		t.Errorf("the key that says that it is alive was written %d times with three reports", v-was)
	}
}
