package etcdstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
)

// pageCollectors is how many reports are read at once.
const pageCollectors = 500

// report is the value of PREFIX/collectors/NODE.
type report struct {
	Format    int              `json:"format"`
	Written   time.Time        `json:"written"` // by the node's clock
	Collector config.Collector `json:"collector"`
}

// reports is what this node has reported.
type reports struct {
	mu      sync.Mutex // held while a report is written, so that they do not overtake each other
	matters []byte     // what mattered in the last one that was written
	due     time.Time  // when the next one is written in any case
	skipped config.Collector
	alive   *alive // nil: nothing was reported yet
	twin    bool   // when the last report was written, the node was kept alive by another daemon
	fleet   atomic.Pointer[fleet]
}

// fleet is how many nodes there were when the last report was written.
type fleet struct{ known, online int }

// Fleet returns how many nodes have reported and were not forgotten, and how many of them
// are alive, as of this node's last report; false before that. It asks nobody.
func (s *Store) Fleet() (known, online int, ok bool) {
	f := s.reports.fleet.Load()
	if f == nil {
		return 0, 0, false
	}
	return f.known, f.online, true
}

// noteFleet takes the counts from the end of the answers to a report.
func (r *reports) noteFleet(answers []*pb.ResponseOp) {
	n := len(answers)
	r.fleet.Store(&fleet{known: int(answers[n-2].GetResponseRange().Count), online: int(answers[n-1].GetResponseRange().Count)})
}

// stateDuplicate is the state of a node whose name two daemons have.
const stateDuplicate = "duplicate"

// Report writes the node's report, if something that matters has changed since the
// last one, or that is a minute old. Its first call makes the node be seen as alive
// until Close. What is counted since the last report is added up meanwhile.
func (s *Store) Report(ctx context.Context, c config.Collector) error {
	if c.ID == "" || strings.ContainsAny(c.ID, "/\x00") || len(c.ID) > 253 {
		return fmt.Errorf("reporting to etcd: %q cannot be a node's name", c.ID)
	}
	r := &s.reports
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alive == nil {
		r.alive = s.stayAlive(c.ID)
		r.alive.wait(ctx)
	}
	c.ExporterSendFailedDelta += r.skipped.ExporterSendFailedDelta
	c.LokiDroppedEntriesDelta += r.skipped.LokiDroppedEntriesDelta
	if r.twin {
		c.UnhealthyComponents = append(slices.Clone(c.UnhealthyComponents), config.UnhealthyComponent{LocalID: "node", Name: c.ID, State: stateDuplicate,
			Message: "another daemon has the same node name, and their reports replace each other: give each its own (--node-name)", UpdatedTime: time.Now().UTC()})
		if c.PipelineHealth == config.HealthHealthy {
			c.PipelineHealth = config.HealthDegraded
		}
	}
	matters, err := whatMatters(c)
	if err != nil {
		return fmt.Errorf("reporting to etcd: %w", err)
	}
	if bytes.Equal(matters, r.matters) && time.Now().Before(r.due) {
		r.skipped = c
		return nil
	}
	twin, err := s.putReport(ctx, c, r.alive)
	if err != nil {
		return err // what the caller has counted is in its next report again
	}
	if r.twin = twin; twin {
		s.log.Warn("another daemon reports under the name of this node: give each its own (--node-name)", "node", c.ID)
	}
	r.matters, r.due, r.skipped = matters, time.Now().Add(s.soon(s.o.ReportEvery)), config.Collector{}
	return nil
}

// putReport also reports whether it was another daemon that kept the node alive until now.
func (s *Store) putReport(ctx context.Context, c config.Collector, a *alive) (twin bool, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	value, err := json.Marshal(report{Format: valueFormat, Written: time.Now().UTC(), Collector: c})
	if err != nil {
		return false, fmt.Errorf("reporting to etcd: %w", err)
	}
	client, err := s.conn.get(ctx)
	if err != nil {
		return false, s.unavailable(err)
	}
	put := clientv3.OpPut(s.key("collectors", c.ID), string(value))
	// Counted in the same request: no node asks for all reports to know that one is missing.
	known := clientv3.OpGet(s.key("collectors/"), clientv3.WithPrefix(), clientv3.WithCountOnly())
	online := clientv3.OpGet(s.key("alive/"), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if lease, key := a.lease(), s.key("alive", c.ID); lease != clientv3.NoLease {
		// Somebody may have deleted it, or have it for another daemon: then it is written again.
		res, err := client.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(key), "=", lease)).Then(put, known, online).
			Else(clientv3.OpGet(key), put, clientv3.OpPut(key, "", clientv3.WithLease(lease)), known, online).Commit()
		if err == nil {
			s.reports.noteFleet(res.Responses)
		}
		switch {
		case err == nil && res.Succeeded:
			return false, nil
		case err == nil:
			return len(res.Responses[0].GetResponseRange().Kvs) > 0 && a.lease() == lease, nil
		}
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return false, s.reportError(err)
		}
	}
	_, err = client.Do(ctx, put)
	return false, s.reportError(err)
}

func (s *Store) reportError(err error) error {
	if err == nil {
		return nil
	}
	_, refused := s.judge(err)
	return fmt.Errorf("reporting to etcd: %w", refused)
}

// whatMatters is the report without what changes all the time.
func whatMatters(c config.Collector) ([]byte, error) {
	c.LastSeen, c.PipelineCheckedAt, c.AlloyStatus = time.Time{}, time.Time{}, ""
	c.ExporterSendFailedDelta, c.LokiDroppedEntriesDelta, c.ExporterSendFailedTotal, c.ExporterQueueSize = 0, 0, 0, 0
	components := make([]config.UnhealthyComponent, len(c.UnhealthyComponents))
	for i, u := range c.UnhealthyComponents {
		components[i] = config.UnhealthyComponent{LocalID: u.LocalID, Name: u.Name, State: u.State}
	}
	targets := make([]config.CollectorTarget, len(c.Targets))
	for i, t := range c.Targets {
		targets[i] = config.CollectorTarget{Name: t.Name, Error: t.Error}
	}
	sources := make([]config.CollectorSource, len(c.Sources))
	for i, s := range c.Sources {
		sources[i] = config.CollectorSource{Name: s.Name, Error: s.Error}
	}
	c.UnhealthyComponents, c.Sources, c.Targets = components, sources, targets
	return json.Marshal(c)
}

// Collectors returns all nodes that have reported and were not forgotten, by ID. A node
// is ONLINE while its lease lives, else STALE, and OFFLINE once its last report is
// older than OfflineAfter. LastSeen of a node that is not online is when it has last
// reported, which may be a minute before it was gone: by its own clock, unless what was seen of
// etcd meanwhile shows that clock to be wrong.
func (s *Store) Collectors(ctx context.Context) ([]config.Collector, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	client, err := s.conn.get(ctx)
	if err != nil {
		return nil, s.unavailable(err)
	}
	living, err := client.Get(ctx, s.key("alive/"), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, s.unavailable(err)
	}
	alive := make(map[string]bool, len(living.Kvs))
	for _, kv := range living.Kvs {
		alive[strings.TrimPrefix(string(kv.Key), s.key("alive/"))] = true
	}
	s.looked(living.Header.Revision)
	all := []config.Collector{}
	now := time.Now()
	from, end := s.key("collectors/"), clientv3.GetPrefixRangeEnd(s.key("collectors/"))
	for {
		res, err := client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithRev(living.Header.Revision), clientv3.WithLimit(pageCollectors))
		if err != nil {
			return nil, s.unavailable(err)
		}
		for _, kv := range res.Kvs {
			from = string(kv.Key) + "\x00"
			id := strings.TrimPrefix(string(kv.Key), s.key("collectors/"))
			all = append(all, s.collector(id, kv.Value, alive[id], kv.ModRevision, now))
		}
		if !res.More || len(res.Kvs) == 0 {
			return all, nil
		}
	}
}

// collector joins a report and whether its node lives.
func (s *Store) collector(id string, value []byte, alive bool, revision int64, now time.Time) config.Collector {
	var r report
	if err := json.Unmarshal(value, &r); err != nil || r.Format != valueFormat {
		// Another version's, or somebody else's: that it is there can be said.
		r = report{Collector: config.Collector{PipelineHealth: config.HealthUnknown, PipelineError: "its report cannot be read: it was written by another version of lbshipd"}}
	}
	c := r.Collector
	age := now.Sub(r.Written)
	c.ID, c.LastSeen = id, r.Written
	if !r.Written.IsZero() { // of another version: nothing is known
		age = s.looks.age(revision, age, now)
		c.LastSeen = now.Add(-age).UTC()
	}
	switch {
	case alive:
		c.AlloyStatus, c.LastSeen = config.AlloyOnline, now.UTC()
	case age < s.o.OfflineAfter:
		c.AlloyStatus = config.AlloyStale
	default:
		c.AlloyStatus = config.AlloyOffline
	}
	return c
}

// Forget deletes the report of a node that is gone for good; a node that lives
// reports again within a minute.
func (s *Store) Forget(ctx context.Context, id string) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	client, err := s.conn.get(ctx)
	if err != nil {
		return s.unavailable(err)
	}
	key := s.key("collectors", id)
	res, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), ">", 0)).
		Then(clientv3.OpDelete(key), clientv3.OpDelete(s.key("alive", id))).Commit()
	if err != nil {
		what, err := s.judge(err)
		if what == unclear {
			err = fmt.Errorf("%w (%w)", err, config.ErrUnclear)
		}
		return err
	}
	if !res.Succeeded {
		return fmt.Errorf("node %q: %w", id, config.ErrNotFound)
	}
	return nil
}
