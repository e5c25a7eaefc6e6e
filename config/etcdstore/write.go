package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/backoff"
)

// Limits of one write. They are those of an etcd with its default flags
// (--max-txn-ops 128, --max-request-bytes 1.5 MiB).
const (
	// maxPlain is how many changes a transaction takes as it is; it leaves room for the
	// generation, the history's new entry, and dropping old ones.
	maxPlain = 128 - 3
	// maxPart is how many go into each transaction within it if there are more. What is around
	// them counts too: for 25 parts that is 25 + 3.
	maxPart = 100
	// maxChanges is what fits 25 parts.
	maxChanges = 25 * maxPart
	// maxRequest leaves room for what surrounds keys and values.
	maxRequest = 1536<<10 - 16<<10
)

// attempt is one transaction that was sent, and may have been applied though nobody said so.
type attempt struct {
	id         string // in the history's entry
	generation int64
	written    config.Written
	effective  []config.Change
}

// Write makes all of the changes or none, in one transaction that compares every
// key it touches and the generation, which every write changes: what Plan has checked
// still holds then. (What somebody deletes with etcdctl at the very same time is not
// compared; Assemble deals with it.) If somebody else was faster, it plans again:
// the author's own conditions decide. If it is not known whether a transaction was
// applied, it looks for its entry in the history before it tries again.
//
// ErrUnavailable is also the error if that could not be found out in time, and then
// ErrUnclear too. At most 2,500 objects and 1.5 MiB, with what was there before, can be
// written at once.
func (s *Store) Write(ctx context.Context, changes []config.Change, o config.WriteOptions) (config.Written, error) {
	return s.write(ctx, o, func(context.Context, *snapshot) ([]config.Change, error) { return changes, nil })
}

// write plans what build says on each try.
func (s *Store) write(ctx context.Context, o config.WriteOptions, build func(context.Context, *snapshot) ([]config.Change, error)) (config.Written, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	wait := backoff.Backoff{Min: 5 * time.Millisecond, Max: 200 * time.Millisecond}
	var last *attempt
	for {
		snap, err := s.list(ctx)
		if err == nil && last != nil {
			var done bool
			if done, err = s.applied(ctx, snap, last); done {
				return last.written, nil
			}
		}
		if err != nil {
			return config.Written{}, unknown(err, last)
		}
		last = nil
		changes, err := build(ctx, snap)
		if err != nil {
			return config.Written{}, err
		}
		next, txn, err := s.plan(snap, changes, o)
		if err != nil || txn == nil {
			return next.written, err
		}
		outcome, err := s.commit(ctx, next, txn)
		switch outcome {
		case done:
			return next.written, nil
		case refused:
			return config.Written{}, err
		case unclear:
			last = next
		}
		select {
		case <-ctx.Done():
			return config.Written{}, unknown(s.unavailable(ctx.Err()), last)
		case <-time.After(wait.Next()):
		}
	}
}

// unknown adds to an error that a write may have been made all the same.
func unknown(err error, last *attempt) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w (%w: look before you repeat it)", err, config.ErrUnclear)
}

// transaction is what is sent to etcd.
type transaction struct {
	compare []clientv3.Cmp
	ops     []clientv3.Op
	size    int // bytes of keys and values
}

func (t *transaction) put(key string, value []byte) {
	t.ops = append(t.ops, clientv3.OpPut(key, string(value)))
	t.size += len(key) + len(value)
}

// same demands that a key is as it was; mod 0: that it is not there.
func (t *transaction) same(key string, mod int64) {
	t.compare = append(t.compare, clientv3.Compare(clientv3.ModRevision(key), "=", mod))
	t.size += len(key)
}

// unchanged demands that no key of a range was written behind a revision. It stands for
// same with each of very many keys, of which an etcd does not take so many; a key that somebody deletes
// by hand at that moment is then written again.
func (t *transaction) unchanged(from, end string, revision int64) {
	t.compare = append(t.compare, clientv3.Compare(clientv3.ModRevision(from).WithRange(end), "<", revision+1))
}

// parted puts operations into transactions within the transaction, which are done with it or not at
// all: etcd counts the operations of each (--max-txn-ops), not their sum.
func parted(ops []clientv3.Op) (parts []clientv3.Op) {
	for some := range slices.Chunk(ops, maxPart) {
		parts = append(parts, clientv3.OpTxn(nil, some, nil))
	}
	return parts
}

// plan checks the changes and makes them a transaction, nil if there is nothing to write.
func (s *Store) plan(snap *snapshot, changes []config.Change, o config.WriteOptions) (*attempt, *transaction, error) {
	a := &attempt{id: rand.Text()}
	before := config.WithServices(s.objects(snap))
	after, effective, warnings, err := config.Plan(before, changes)
	if err != nil {
		return a, nil, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	a.effective = effective
	a.written = config.Written{Warnings: warnings, Objects: affected(after, changes)}
	a.written.Revision = config.Revision{Time: now, Author: o.Author.Name, Via: o.Author.Via, Reason: o.Author.Reason, Changes: config.Diff(before, effective)}
	if a.written.Revision.Changes == nil {
		a.written.Revision.Changes = []config.RevisionChange{}
	}
	count, _, err := snap.generation(s)
	if len(effective) == 0 && (err != nil || !s.confirms(count)) {
		return a, nil, nil
	}
	txn, err := s.transaction(snap, a, o)
	if err != nil || o.DryRun {
		a.written.Revision.ID = 0
		return a, nil, err
	}
	return a, txn, nil
}

// affected returns what the objects of the changes are afterwards, in the order of the changes.
func affected(after []config.Stored, changes []config.Change) []config.Stored {
	var out []config.Stored
	for _, c := range changes {
		is := config.Stored{Kind: c.Kind, Name: c.Name}
		for _, o := range after {
			if o.Kind == c.Kind && o.Name == c.Name {
				is = o
			}
		}
		out = append(out, is)
	}
	return out
}

func (s *Store) transaction(snap *snapshot, a *attempt, o config.WriteOptions) (*transaction, error) {
	tooMuch := func(format string, args ...any) error {
		return config.Problems{{Message: "this is too much to be written to etcd at once: " + fmt.Sprintf(format, args...) + "; write it in several steps"}}
	}
	if n := len(a.effective); n > maxChanges {
		return nil, tooMuch("%d objects change, and at most %d may", n, maxChanges)
	}
	count, mod, err := snap.generation(s)
	if err != nil {
		return nil, err
	}
	if a.generation = count + 1; s.confirms(count) {
		// So that no node takes it for less than it knows.
		a.generation = s.known.Load() + 1
		a.written.Warnings = append(a.written.Warnings, config.Problem{Message: fmt.Sprintf("etcd had lost writes (it has seen %d of %d): all nodes take now what it holds", count, s.known.Load())})
	}
	a.written.Revision.ID = a.generation
	txn := &transaction{}
	large := len(a.effective) > maxPlain
	if large {
		txn.unchanged(s.first(), s.end(), snap.revision)
	}
	txn.same(s.generationKey(), mod)
	txn.put(s.generationKey(), strconv.AppendInt(nil, a.generation, 10))
	e := entry{Format: valueFormat, Write: a.id, Revision: a.written.Revision, Follows: count}
	for _, c := range a.effective {
		key := s.objectKey(c.Kind, c.Name)
		old := snap.values[key] // mod 0 if there is none
		if !large {
			txn.same(key, old.mod)
		}
		e.Before = append(e.Before, beforeOf(c, old))
		if c.Draft == nil {
			txn.ops = append(txn.ops, clientv3.OpDelete(key))
			continue
		}
		object, err := s.sealed(c.Kind, c.Name, c.Draft.Given)
		if err != nil {
			return nil, config.Problems{{Object: fmt.Sprintf("%s %q", c.Kind.Title(), c.Name), Message: err.Error()}}
		}
		value, err := (&envelope{Format: valueFormat, Version: old.ver + 1, Updated: a.written.Revision.Time, By: o.Author.Name, Via: o.Author.Via, Object: object}).encode()
		if err != nil {
			return nil, fmt.Errorf("writing %s %q: %w", c.Kind.Title(), c.Name, err)
		}
		if len(value) > maxValue {
			return nil, config.Problems{{Object: fmt.Sprintf("%s %q", c.Kind.Title(), c.Name), Message: fmt.Sprintf("is %d bytes long as it would be stored, and at most %d can be", len(value), maxValue)}}
		}
		txn.put(key, value)
	}
	if large {
		txn.ops = parted(txn.ops)
	}
	value, err := e.encode()
	if err != nil {
		return nil, fmt.Errorf("writing the history: %w", err)
	}
	txn.put(s.changeKey(a.generation), value)
	if a.generation > historyKept {
		txn.ops = append(txn.ops, clientv3.OpDelete(s.changeKey(0), clientv3.WithRange(s.changeKey(a.generation-historyKept+1))))
	}
	if txn.size > maxRequest {
		return nil, tooMuch("it is %d bytes, with what the history keeps of it, and at most %d can be", txn.size, maxRequest)
	}
	return txn, nil
}

// outcome is what became of a transaction.
type outcome int

const (
	done    outcome = iota
	stale           // somebody was faster: it was not applied and never will be
	refused         // etcd does not take it: likewise
	unclear         // nobody knows
)

func (s *Store) commit(ctx context.Context, a *attempt, txn *transaction) (outcome, error) {
	client, err := s.conn.get(ctx)
	if err != nil {
		return stale, nil // nothing was sent; the next listing says why
	}
	// Half of the time is left for finding out what became of it.
	within := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	res, err := client.Txn(within).If(txn.compare...).Then(txn.ops...).Commit()
	if err != nil {
		return s.judge(err)
	}
	if !res.Succeeded {
		return stale, nil
	}
	a.finish(res.Header.Revision)
	return done, nil
}

// judge says what an error of a transaction means.
func (s *Store) judge(err error) (outcome, error) {
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return refused, fmt.Errorf("%w: etcd's user %q may not write under %s", config.ErrReadOnly, s.o.User, s.o.Prefix)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return refused, config.Problems{{Message: "this is too much for this etcd to be written at once (its limits are set lower than the default): " + err.Error()}}
	case errors.Is(err, rpctypes.ErrNoSpace):
		return refused, fmt.Errorf("%w now: etcd has used up its space and takes no writes. Have it compacted and defragmented, give it more (--quota-backend-bytes) if that does not help, and then run etcdctl alarm disarm. What runs goes on: %w", config.ErrReadOnly, err)
	}
	code := status.Code(err)
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		code = known.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.ResourceExhausted, codes.OutOfRange, codes.Unimplemented:
		return refused, s.unavailable(err)
	}
	return unclear, s.unavailable(err)
}

// finish fills in what etcd has made of it: one transaction has one revision.
func (a *attempt) finish(mod int64) {
	changed := map[[2]string]bool{}
	for _, c := range a.effective {
		changed[[2]string{string(c.Kind), c.Name}] = true
	}
	for i := range a.written.Objects {
		o := &a.written.Objects[i]
		if changed[[2]string{string(o.Kind), o.Name}] && o.Object != nil {
			o.Etag, o.Updated, o.By = strconv.FormatInt(mod, 10), a.written.Revision.Time, a.written.Revision.Author
		}
	}
}

// applied finds out what became of a transaction, after a listing. It compared the
// generation: once that has moved on without it, it never will be applied; while it
// has not, the transaction may still be, or a next one that compares the same, but not both.
func (s *Store) applied(ctx context.Context, snap *snapshot, a *attempt) (bool, error) {
	count, _, err := snap.generation(s)
	if err != nil || count < a.generation {
		return false, err
	}
	client, err := s.conn.get(ctx)
	if err != nil {
		return false, s.unavailable(err)
	}
	res, err := client.Get(ctx, s.changeKey(a.generation))
	if err != nil {
		return false, s.unavailable(err)
	}
	if len(res.Kvs) == 0 {
		return false, fmt.Errorf("%w: the history does not reach back to it any more", config.ErrUnavailable)
	}
	e, err := openEntry(res.Kvs[0].Value)
	if err != nil {
		return false, err
	}
	if e.Write != a.id {
		return false, nil
	}
	a.finish(res.Kvs[0].ModRevision)
	return true, nil
}
