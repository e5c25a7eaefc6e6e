package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/internal/backoff"
)

// update is what the follower has learned: a whole listing, or that etcd
// cannot be read.
type update struct {
	snap *snapshot
	err  error
}

// follower keeps a snapshot current: it lists, watches from there, and lists
// again whenever the watch ends for whatever reason.
type follower struct {
	s       *Store
	snap    *snapshot
	updates chan<- update
	relist  <-chan struct{} // asks for a listing

	through func(clientv3.WatchChan) clientv3.WatchChan // for tests: the watch tells late, or nothing
}

// How the follower tries.
const (
	retryFirst, retryMost = 200 * time.Millisecond, 5 * time.Second
	// steady is how long a watch must have stood for the next failure to be a new one.
	steady = 10 * time.Second
	// compareAfter is how long after a connection was made all is compared, about.
	compareAfter = 5 * time.Second
	// verifyTries is after how many looks without an answer everything is listed again.
	verifyTries = 3
	// lookAgain is when something that seems to be missed is looked for again, doubtMost
	// times at most.
	lookAgain = 3 * time.Second
	doubtMost = 5
)

func (f *follower) run(ctx context.Context) {
	wait := backoff.Backoff{Min: retryFirst, Max: retryMost}
	for ctx.Err() == nil {
		began := time.Now()
		err := f.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait.Reset()
		}
		if f.s.reach.set(f.s.unavailable(err)) {
			f.s.log.Warn("the configuration in etcd cannot be watched; what runs goes on, and etcd is tried on", "error", err)
		}
		if !f.send(ctx, update{err: f.s.unavailable(err)}) {
			return
		}
		select {
		case <-ctx.Done():
		case <-f.relist:
		case <-time.After(wait.Next()):
		}
	}
}

func (f *follower) send(ctx context.Context, u update) bool {
	select {
	case f.updates <- u:
		return true
	case <-ctx.Done():
		return false
	}
}

// round lists and watches until something is wrong; it returns no nil.
func (f *follower) round(ctx context.Context) error {
	var stream clientv3.WatchChan
	cancel := func() {}
	defer func() { cancel() }() // ends the watch in etcd too
	begin := func() error {
		cancel()
		if err := f.list(ctx); err != nil {
			return err
		}
		client, err := f.s.conn.get(ctx)
		if err != nil {
			return err
		}
		var watching context.Context
		watching, cancel = context.WithCancel(ctx)
		stream = f.watch(watching, client)
		return nil
	}
	if err := begin(); err != nil {
		return err
	}
	verify := time.NewTimer(f.s.soon(f.s.o.VerifyEvery))
	defer verify.Stop()
	unanswered, doubt, redialed := 0, doubt{}, false
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case res, ok := <-stream:
			if !ok {
				return errors.New("the watch has ended")
			}
			err = f.take(ctx, &res)
		case <-f.relist:
			err = begin()
		case <-f.s.conn.dialed:
			// The client goes on with the watch where it was, whatever it has met: an etcd that was
			// restored meanwhile counts the same revisions once more, and no look tells.
			if !redialed {
				redialed = true
				verify.Reset(f.s.soon(min(compareAfter, f.s.o.VerifyEvery)))
			}
		case <-verify.C:
			look := f.verify
			if redialed {
				look = f.compare
			}
			if err = look(ctx); err == nil {
				unanswered, doubt.looks, redialed = 0, 0, false
			} else if errors.As(err, new(missedError)) && doubt.again(f.snap.revision) {
				err = nil
			} else if errors.As(err, new(missedError)) {
				f.s.log.Info("the configuration in etcd is listed again", "reason", err)
				redialed, err = false, begin()
			} else if unanswered++; unanswered < verifyTries {
				err = nil
			}
			next := f.s.o.VerifyEvery / time.Duration(1+2*unanswered)
			if doubt.looks > 0 {
				next = min(next, lookAgain)
			}
			verify.Reset(f.s.soon(next))
		}
		if err != nil {
			return err
		}
	}
}

// doubt is whether the watch has missed something, or a change is only under way: that of
// an etcd that tells a thousand nodes of it may be for seconds.
type doubt struct {
	looks    int   // that have found a difference, one after the other
	revision int64 // of the snapshot at the last of them
}

// again reports whether one is to look again before everything is listed: the first
// time, and while the watch goes on telling.
func (d *doubt) again(revision int64) bool {
	again := d.looks == 0 || d.looks < doubtMost && revision != d.revision
	d.looks, d.revision = d.looks+1, revision
	if !again {
		d.looks = 0
	}
	return again
}

// soon is a time that is spread, so that nodes that were started together do not ask together.
func (s *Store) soon(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

// watch begins behind the snapshot. It ends with an error when its member has lost its leader.
func (f *follower) watch(ctx context.Context, client *clientv3.Client) clientv3.WatchChan {
	// With progress, for else a watch that was told nothing for long is resumed where it
	// began: all reports since then are gone through in etcd, for each node that comes back
	// after a restart, or are compacted, and all nodes list at once.
	stream := client.Watch(clientv3.WithRequireLeader(ctx), f.s.first(), clientv3.WithRange(f.s.end()), clientv3.WithRev(f.snap.revision+1), clientv3.WithProgressNotify())
	if f.through != nil {
		return f.through(stream)
	}
	return stream
}

func (f *follower) list(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, f.s.o.Timeout)
	defer cancel()
	snap, err := f.s.list(within)
	if err != nil {
		return err
	}
	if f.snap != nil && (snap.cluster != f.snap.cluster || snap.revision < f.snap.revision) {
		f.s.log.Warn("etcd holds less than it did, or is another one: its data was restored or replaced", "revision", snap.revision, "before", f.snap.revision)
	}
	f.snap = snap
	return f.publish(ctx)
}

// publish hands out the snapshot, which is not changed any more.
func (f *follower) publish(ctx context.Context) error {
	if f.s.reach.set(nil) {
		f.s.log.Info("the configuration in etcd is watched", "revision", f.snap.revision)
	}
	if !f.send(ctx, update{snap: f.snap}) {
		return ctx.Err()
	}
	return nil
}

// take applies one answer of the watch: whole transactions, one or several.
func (f *follower) take(ctx context.Context, res *clientv3.WatchResponse) error {
	if err := res.Err(); err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	if len(res.Events) == 0 {
		return nil
	}
	next := f.snap.clone()
	for _, e := range res.Events {
		key := string(e.Kv.Key)
		if e.Type == clientv3.EventTypeDelete {
			delete(next.values, key)
		} else {
			next.values[key] = raw{e.Kv.Value, e.Kv.ModRevision, e.Kv.Version}
		}
		next.revision = max(next.revision, e.Kv.ModRevision)
	}
	if len(next.values) > maxKeys {
		return fmt.Errorf("there are more than %d keys under %s: is the prefix used by something else?", maxKeys, f.s.o.Prefix)
	}
	f.snap = next
	return f.publish(ctx)
}

// missedError says that the watch has not told everything.
type missedError struct{ text string }

func (e missedError) Error() string { return e.text }

// verify holds the snapshot against etcd without reading it all. A change that is
// under way shows as a difference too.
func (f *follower) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.s.o.Timeout)
	defer cancel()
	client, err := f.s.conn.get(ctx)
	if err != nil {
		return f.s.unavailable(err)
	}
	res, err := client.Get(ctx, f.s.first(), clientv3.WithRange(f.s.end()), clientv3.WithMinModRev(f.snap.revision+1), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
	switch {
	case err != nil:
		return f.s.unavailable(err)
	}
	f.s.looked(res.Header.Revision)
	switch {
	case res.Header.ClusterId != f.snap.cluster || res.Header.Revision < f.snap.revision:
		return missedError{"etcd was restored or replaced"}
	case res.Count != int64(len(f.snap.values)):
		return missedError{fmt.Sprintf("etcd holds %d keys, the watch has told of %d", res.Count, len(f.snap.values))}
	case len(res.Kvs) > 0:
		return missedError{"etcd holds newer keys than the watch has told of"}
	}
	return nil
}

// compare is verify that reads it all.
func (f *follower) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.s.o.Timeout)
	defer cancel()
	snap, err := f.s.list(ctx)
	switch {
	case err != nil:
		return err
	case snap.revision < f.snap.revision || !sameValues(snap, f.snap):
		return missedError{"etcd holds other keys than the watch has told of"}
	}
	return nil
}
