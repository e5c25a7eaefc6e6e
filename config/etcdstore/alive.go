package etcdstore

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/internal/backoff"
)

// alive keeps a node's leased key, until the Store is closed.
type alive struct {
	s       *Store
	id      string
	wanted  int64         // the lease that is taken, until it is lost; 0: none. Only run's goroutine uses it
	current atomic.Int64  // the lease; 0: none
	held    chan struct{} // closed once it was held
	once    sync.Once
}

func (a *alive) lease() clientv3.LeaseID { return clientv3.LeaseID(a.current.Load()) }

func (s *Store) stayAlive(id string) *alive {
	a := &alive{s: s, id: id, held: make(chan struct{})}
	s.work.Go(a.run)
	return a
}

// firstLease is how long the first report waits for its node to be alive: one that
// is seen before would be shown as stale for a moment.
const firstLease = time.Second

func (a *alive) wait(ctx context.Context) {
	select {
	case <-a.held:
	case <-time.After(firstLease):
	case <-ctx.Done():
	}
}

func (a *alive) run() {
	wait := backoff.Backoff{Min: retryFirst, Max: retryMost}
	for a.s.ctx.Err() == nil {
		began := time.Now()
		err := a.hold()
		a.current.Store(0)
		if a.s.ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait.Reset()
		}
		a.s.log.Debug("the node's lease in etcd was lost and is made again", "error", err)
		select {
		case <-a.s.ctx.Done():
		case <-time.After(wait.Next()):
		}
	}
}

// hold takes a lease and keeps it, until it is lost.
func (a *alive) hold() error {
	ctx, cancel := context.WithTimeout(a.s.ctx, a.s.o.Timeout)
	defer cancel()
	client, err := a.s.conn.get(ctx)
	if err != nil {
		return err
	}
	if a.wanted == 0 {
		a.wanted = 1 + rand.Int64N(math.MaxInt64-1)
	}
	lease := clientv3.LeaseID(a.wanted)
	if err := a.grant(ctx, client, lease); err != nil {
		return err
	}
	if _, err := client.Put(ctx, a.s.key("alive", a.id), "", clientv3.WithLease(lease)); err != nil {
		return err
	}
	a.current.Store(int64(lease))
	a.once.Do(func() { close(a.held) })
	a.wanted = 0
	kept, err := client.KeepAlive(a.s.ctx, lease)
	if err != nil {
		return err
	}
	for range kept {
	}
	if a.s.ctx.Err() == nil {
		return errors.New("it has expired")
	}
	// The node is known to be gone at once, not only when the lease has expired.
	last, stop := context.WithTimeout(context.WithoutCancel(a.s.ctx), time.Second)
	defer stop()
	_, err = client.Revoke(last, lease)
	return err
}

// grant takes a lease whose number is ours. An etcd that is too slow for all nodes
// to be answered in time, as after a start of all of them, does what it was asked all the
// same: asked again for the same number, it makes no lease that nobody keeps.
func (a *alive) grant(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) error {
	ttl := max(1, int64((a.s.o.LeaseTTL+time.Second-1)/time.Second))
	_, err := clientv3.RetryLeaseClient(client).LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: int64(lease), TTL: ttl})
	if err = clientv3.ContextError(ctx, err); errors.Is(err, rpctypes.ErrLeaseExist) {
		return nil
	}
	return err
}
