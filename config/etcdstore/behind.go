package etcdstore

import (
	"fmt"
	"slices"
)

// behindError says that etcd has lost writes that this node knows of: its data was
// restored from an older copy, wiped, or is another etcd's. Nobody has decided that
// what is missing shall not run any more, so that what etcd held before goes on running until
// somebody decides: by a write, which goes beyond all generations that the writer
// knows of, or by a Reload of this node.
type behindError struct{ text string }

func (e *behindError) Error() string {
	return "etcd has lost writes (was it restored from an older copy, or wiped?): " + e.text +
		"; what it held before goes on running, until something is written with lbshipd, or this node is told to take what there is (SIGHUP)"
}

// behind holds a listing against what was known before; nil if it may follow upon that.
func (s *Store) behind(known, now *snapshot) error {
	if known == nil {
		return nil
	}
	was, _, _ := known.generation(s)
	is, _, err := now.generation(s)
	switch {
	case err != nil:
		return nil // somebody has damaged that one key: the objects can be seen all the same
	case is < was:
		return &behindError{fmt.Sprintf("it has seen %d of them and had seen %d, and holds %d objects and had held %d", is, was, s.count(now), s.count(known))}
	case was == 0 && s.count(now) == 0 && s.count(known) > 0 && (now.revision < known.revision || now.cluster != known.cluster):
		// All was written by hand, without generations.
		return &behindError{fmt.Sprintf("it holds no object and had held %d", s.count(known))}
	}
	return nil
}

// count is how many objects there are.
func (s *Store) count(snap *snapshot) (n int) {
	for key := range snap.values {
		if _, _, ok := s.object(key); ok {
			n++
		}
	}
	return n
}

// comparable reports whether a snapshot of the cache is of the etcd that is
// configured now: a node may have been given another one on purpose.
func (s *Store) comparable(kept, now *snapshot) bool {
	return kept.cluster == now.cluster || slices.Equal(kept.endpoints, s.endpoints())
}

func (s *Store) endpoints() []string { return slices.Sorted(slices.Values(s.o.Endpoints)) }

// confirms reports whether a write is due even if it changes no object: etcd has
// lost writes, and whoever writes to it says that what it holds is what is wanted.
func (s *Store) confirms(generation int64) bool { return generation < s.known.Load() }
