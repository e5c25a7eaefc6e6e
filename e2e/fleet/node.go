package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/admin/collector"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/etcdstore"
	"github.com/lbshipd/lbshipd/pipeline"
)

// waveLabel is the label of the source by whose value a change is known.
const waveLabel = "wave"

// node does what a daemon does with etcd: it watches, keeps its lease, and reports.
// Its pipeline takes every configuration at once and has nothing to do.
type node struct {
	number   int
	board    *board
	store    *etcdstore.Store
	events   int // Watch has sent
	mu       sync.Mutex
	applied  time.Time
	event    config.Event // the last one that held a configuration
	refused  error
	finished sync.WaitGroup
}

var seed = maphash.MakeSeed()

// Status is what the node reports.
func (n *node) Status() pipeline.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := pipeline.Status{Applied: n.applied, Refused: n.refused, Hash: n.event.Hash, Cached: n.event.Cached, Rejected: n.event.Rejected}
	if n.event.Config == nil {
		return st
	}
	for i := range n.event.Config.Targets {
		st.Targets = append(st.Targets, pipeline.TargetStatus{Name: n.event.Config.Targets[i].Name, Kind: "loki"})
	}
	return st
}

// StoreAway is of no interest: there is no pipeline to be told.
func (n *node) StoreAway(time.Time, error) {}

// Condition changes with what a real pipeline's does, as far as there is any of it.
func (n *node) Condition() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(n.event.Hash)
	if n.event.Cached {
		h.WriteByte('c')
	}
	if n.refused != nil {
		h.WriteByte('r')
	}
	return h.Sum64()
}

// startNode starts node number; it ends when ctx does. Everything is as in
// cmd/lbshipd, with the cache of what etcd held in a folder of its own.
func startNode(ctx context.Context, number int, b *board, o etcdstore.Options, dir string) (*node, error) {
	name := fmt.Sprintf("node-%05d", number)
	o.Node = config.Node{Name: name, Labels: map[string]string{"rack": fmt.Sprint(number % 40)}}
	if dir != "" {
		o.CacheFile = filepath.Join(dir, name)
	}
	store, err := etcdstore.New(o)
	if err != nil {
		return nil, err
	}
	n := &node{number: number, board: b, store: store}
	reporter := collector.NewReporter(collector.Options{Pipeline: n, To: store, Node: collector.Node{Node: o.Node, Version: "fleet"}, Log: slog.New(slog.DiscardHandler)})
	events := store.Watch(ctx)
	n.finished.Go(func() {
		for e := range events {
			n.take(e)
		}
	})
	n.finished.Go(func() { reporter.Run(ctx) })
	return n, nil
}

func (n *node) take(e config.Event) {
	now := time.Now()
	n.mu.Lock()
	n.events++
	n.refused = e.Err
	if e.Config != nil {
		n.event, n.applied = e, now
	}
	n.mu.Unlock()
	if e.Config == nil || e.Cached {
		return
	}
	for i := range e.Config.Sources {
		if wave := e.Config.Sources[i].Labels[waveLabel]; wave != "" {
			n.board.arrived(n.number, wave, now)
		}
	}
}

// end waits until the node has ended, after its context.
func (n *node) end() {
	n.finished.Wait()
	n.store.Close()
}
