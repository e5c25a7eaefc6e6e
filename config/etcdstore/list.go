package etcdstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
)

// Limits of a listing, so that a prefix that somebody else fills ends as an
// error and not in memory.
const (
	pageKeys   = 200
	maxKeys    = 20_000
	maxListing = 256 << 20 // bytes of values
	listTries  = 3         // of a listing that is compacted away under our hands
)

// snapshot is all keys that are watched, at one revision of etcd.
type snapshot struct {
	values   map[string]raw
	revision int64
	cluster  uint64
	// endpoints of the etcd that it is of, only if it comes from a cache.
	endpoints []string
}

// clone copies a snapshot; values are never changed.
func (n *snapshot) clone() *snapshot {
	return &snapshot{values: maps.Clone(n.values), revision: n.revision, cluster: n.cluster}
}

// generation is how many writes there were.
func (n *snapshot) generation(s *Store) (count, mod int64, err error) {
	r, ok := n.values[s.generationKey()]
	if !ok {
		return 0, 0, nil
	}
	count, err = strconv.ParseInt(string(r.value), 10, 64)
	if err != nil || count < 0 {
		return 0, 0, fmt.Errorf("the value of the key %s in etcd is not a number: somebody has changed it", s.generationKey())
	}
	return count, r.mod, nil
}

// list reads all keys that are watched, at one revision. Whatever time its caller
// has, an etcd that hangs is known soon.
func (s *Store) list(ctx context.Context) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	client, err := s.conn.get(ctx)
	if err != nil {
		return nil, s.unavailable(err)
	}
	for try := 1; ; try++ {
		snap, err := s.listOnce(ctx, client)
		if errors.Is(err, rpctypes.ErrCompacted) && try < listTries {
			continue
		}
		if err != nil {
			return nil, s.unavailable(err)
		}
		return snap, nil
	}
}

func (s *Store) listOnce(ctx context.Context, client *clientv3.Client) (*snapshot, error) {
	snap := &snapshot{values: map[string]raw{}}
	from, size := s.first(), 0
	for {
		res, err := client.Get(ctx, from, clientv3.WithRange(s.end()), clientv3.WithLimit(pageKeys), clientv3.WithRev(snap.revision))
		if err != nil {
			return nil, err
		}
		if snap.revision == 0 {
			snap.revision, snap.cluster = res.Header.Revision, res.Header.ClusterId
		}
		for _, kv := range res.Kvs {
			snap.values[string(kv.Key)] = raw{kv.Value, kv.ModRevision, kv.Version}
			size += len(kv.Value)
		}
		if len(snap.values) > maxKeys || size > maxListing {
			return nil, fmt.Errorf("there are more than %d keys or %d bytes under %s: is the prefix used by something else?", maxKeys, maxListing, s.o.Prefix)
		}
		if !res.More || len(res.Kvs) == 0 {
			return snap, nil
		}
		from = string(res.Kvs[len(res.Kvs)-1].Key) + "\x00"
	}
}

// List returns all objects, by kind and name. What is wrong with one is in its Err.
func (s *Store) List(ctx context.Context) ([]config.Stored, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	snap, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	return config.WithServices(s.objects(snap)), nil
}

func sortStored(all []config.Stored) {
	order := map[config.Kind]int{}
	for i, k := range config.Kinds() {
		order[k] = i
	}
	slices.SortFunc(all, func(a, b config.Stored) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Name, b.Name))
	})
}
