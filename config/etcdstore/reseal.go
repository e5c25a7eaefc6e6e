package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/seal"
)

// Resealed is what a Reseal has done.
type Resealed struct {
	KeyID   string // with which all is sealed now, but for Errors
	Objects int    // that were written
	History int    // entries of the history that were written
	Secrets int    // in both, that were in clear or sealed with another key
	// Errors name what could not be sealed anew: it cannot be opened, or is no object.
	Errors []error
}

// resealTries is how often an object is tried that others change meanwhile.
const resealTries = 10

// Reseal seals all secrets, also those of the history, with the first of the
// cluster keys: those that are in clear, and those that are sealed with another key. Each object is
// written by itself, if it is still what was read; its Etag stays. It may be repeated.
func (s *Store) Reseal(ctx context.Context) (Resealed, error) {
	if s.o.Keys == nil {
		return Resealed{}, errors.New("no cluster key file is given")
	}
	done := Resealed{KeyID: s.o.Keys.Current()}
	listing, cancel := s.within(ctx)
	snap, err := s.list(listing)
	cancel()
	if err != nil {
		return done, err
	}
	for _, o := range s.objects(snap) {
		if err := s.resealKey(ctx, s.objectKey(o.Kind, o.Name), &done, &done.Objects); err != nil {
			return done, err
		}
	}
	// What is written from now on is sealed with the first key: these are all that matter.
	reading, cancel := s.within(ctx)
	_, ids, err := s.entries(reading, 0)
	cancel()
	if err != nil {
		return done, err
	}
	for _, id := range ids {
		if err := s.resealKey(ctx, s.changeKey(id), &done, &done.History); err != nil {
			return done, err
		}
	}
	return done, nil
}

// resealKey seals the secrets in one key. The error is one of etcd.
func (s *Store) resealKey(ctx context.Context, key string, sum *Resealed, count *int) error {
	for range resealTries {
		written, err := s.resealOnce(ctx, key, sum)
		if errors.Is(err, config.ErrUnavailable) {
			return err
		}
		if err != nil {
			sum.Errors = append(sum.Errors, fmt.Errorf("%s: %w", key, err))
			return nil
		}
		if written != nil {
			if *written {
				*count++
			}
			return nil
		}
	}
	sum.Errors = append(sum.Errors, fmt.Errorf("%s: it was changed again and again meanwhile", key))
	return nil
}

// resealOnce says whether it had to write; nil if somebody else has changed the key meanwhile.
func (s *Store) resealOnce(ctx context.Context, key string, sum *Resealed) (*bool, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	client, err := s.conn.get(ctx)
	if err != nil {
		return nil, s.unavailable(err)
	}
	res, err := client.Get(ctx, key)
	if err != nil {
		return nil, s.unavailable(err)
	}
	did := false
	if len(res.Kvs) == 0 {
		return &did, nil // deleted meanwhile
	}
	kv := res.Kvs[0]
	value, secrets, err := s.resealValue(key, raw{kv.Value, kv.ModRevision, kv.Version})
	if err != nil || secrets == 0 {
		return &did, err
	}
	put, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).Then(clientv3.OpPut(key, string(value))).Commit()
	if err != nil {
		return nil, s.unavailable(err)
	}
	if !put.Succeeded {
		return nil, nil
	}
	sum.Secrets += secrets
	did = true
	return &did, nil
}

// resealValue returns the value of a key with all secrets sealed with the first key, and how many were not.
func (s *Store) resealValue(key string, r raw) (value []byte, secrets int, err error) {
	if kind, name, ok := s.object(key); ok {
		return s.resealObject(kind, name, r, true)
	}
	e, err := openEntry(r.value)
	if err != nil {
		return nil, 0, err
	}
	for i := range e.Before {
		b := &e.Before[i]
		old, ok := b.get()
		if !ok {
			continue
		}
		next, n, err := s.resealObject(b.Kind, b.Name, raw{value: old}, false)
		if err != nil {
			return nil, 0, fmt.Errorf("%s %q: %w", b.Kind.Title(), b.Name, err)
		}
		if n > 0 {
			b.set(next)
			secrets += n
		}
	}
	value, err = e.encode()
	return value, secrets, err
}

// resealObject seals what an object's value holds. If it is a key's, the version
// moves with it, so that it is still known whose the object is, and its Etag stays.
func (s *Store) resealObject(kind config.Kind, name string, r raw, isKey bool) ([]byte, int, error) {
	e, err := r.open()
	if err != nil {
		return nil, 0, err
	}
	current, count := s.o.Keys.Current(), 0
	object, err := config.Secrets(kind, e.Object, func(field, text string) (string, error) {
		place := seal.Place{Kind: string(kind), Name: name, Field: field}
		switch {
		case strings.HasPrefix(text, hiddenPrefix), seal.KeyID(text) == current:
			return text, nil
		case seal.IsSealed(text):
			clear, err := s.o.Keys.Open(place, text)
			if err != nil {
				return "", err
			}
			text = clear
		}
		count++
		return s.o.Keys.Seal(place, text)
	})
	if err != nil || count == 0 {
		return nil, 0, err
	}
	if e.Version < 0 {
		return object, count, nil // an object by itself
	}
	if isKey {
		if e.SealedAt != r.ver || e.Since == 0 {
			e.Since = r.mod
			if e.Version != r.ver {
				e.Version = 0 // somebody else's
			}
		}
		e.SealedAt = r.ver + 1
	}
	e.Object = object
	value, err := e.encode()
	return value, count, err
}
