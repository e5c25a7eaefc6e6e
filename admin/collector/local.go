package collector

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

var _ config.Collectors = (*Local)(nil)

// Local is where a node reports that has no store which it shares with
// others: it holds that node only, in memory. The zero value is ready.
type Local struct {
	mu   sync.Mutex
	last *config.Collector
}

// Report implements config.Collectors.
func (l *Local) Report(_ context.Context, c config.Collector) error {
	c.AlloyStatus, c.LastSeen = config.AlloyOnline, time.Now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = &c
	return nil
}

// Collectors implements config.Collectors. LastSeen is the time of the report.
func (l *Local) Collectors(context.Context) ([]config.Collector, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return nil, nil
	}
	return []config.Collector{*l.last}, nil
}

// Forget implements config.Collectors. The node is back with its next report.
func (l *Local) Forget(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || l.last.ID != id {
		return fmt.Errorf("node %q: %w", id, config.ErrNotFound)
	}
	l.last = nil
	return nil
}
