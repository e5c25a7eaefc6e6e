package etcdstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
)

// Limits of the history.
const (
	historyKept = 50
	// maxDiff bounds what is kept of one object's diff, in bytes.
	maxDiff = 16 << 10
)

// changeKey is the key of a write's entry. Keys sort as numbers do.
func (s *Store) changeKey(generation int64) string {
	return s.key("changes", fmt.Sprintf("%019d", generation))
}

// entry is the value of one entry of the history.
type entry struct {
	Format   int             `json:"format"`
	Write    string          `json:"write"` // tells this write from all others
	Revision config.Revision `json:"revision"`
	Before   []before        `json:"before"`
	// Follows is the generation before; one less, but for writes that were lost.
	Follows int64 `json:"follows"`
}

// before is what one object's key held before the write: the value as it was,
// secrets sealed.
type before struct {
	Kind config.Kind `json:"kind"`
	Name string      `json:"name"`
	// Value is nil if the key was not there. Bytes holds it if it was no text.
	Value *string `json:"value,omitempty"`
	Bytes []byte  `json:"bytes,omitempty"`
}

func beforeOf(c config.Change, old raw) before {
	b := before{Kind: c.Kind, Name: c.Name}
	if old.mod == 0 {
		return b
	}
	b.set(old.value)
	return b
}

func (b *before) set(value []byte) {
	b.Value, b.Bytes = nil, nil
	if !utf8.Valid(value) {
		b.Bytes = value
		return
	}
	text := string(value)
	b.Value = &text
}

// get returns the value; false if the key was not there.
func (b *before) get() ([]byte, bool) {
	if b.Value != nil {
		return []byte(*b.Value), true
	}
	return b.Bytes, len(b.Bytes) > 0
}

// follows reports whether the entry of the write id came right behind another one.
func (e *entry) follows(before, id int64) bool {
	return id == before+1 || e != nil && e.Follows == before && before > 0
}

func (e *entry) encode() ([]byte, error) {
	short := *e
	short.Revision.Changes = slices.Clone(e.Revision.Changes)
	for i := range short.Revision.Changes {
		diff := &short.Revision.Changes[i].Diff
		if len(*diff) > maxDiff {
			cut := strings.LastIndexByte((*diff)[:maxDiff], '\n') + 1
			*diff = fmt.Sprintf("%s... (%d bytes more)\n", (*diff)[:cut], len(*diff)-cut)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(short); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func openEntry(value []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(value, &e); err != nil {
		return entry{}, fmt.Errorf("reading the history: it is not what lbshipd writes: %s", jsonReason(err))
	}
	if e.Format != valueFormat {
		return entry{}, fmt.Errorf("reading the history: it was written by another version of lbshipd (format %d)", e.Format)
	}
	return e, nil
}

// entries reads the history at a revision of etcd (0: now), newest first.
// Entries that cannot be read are nil, unless they are the only ones.
func (s *Store) entries(ctx context.Context, rev int64) (map[int64]*entry, []int64, error) {
	client, err := s.conn.get(ctx)
	if err != nil {
		return nil, nil, s.unavailable(err)
	}
	all, ids := map[int64]*entry{}, []int64{}
	end := clientv3.GetPrefixRangeEnd(s.key("changes/"))
	for len(ids) < historyKept {
		// One at a time: each may be more than a megabyte.
		res, err := client.Get(ctx, s.key("changes/"), clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(pageChanges),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		if err != nil {
			return nil, nil, s.unavailable(err)
		}
		if rev == 0 {
			rev = res.Header.Revision
		}
		for _, kv := range res.Kvs {
			end = string(kv.Key)
			id, err := strconv.ParseInt(strings.TrimPrefix(end, s.key("changes/")), 10, 64)
			if err != nil {
				continue // somebody else's key
			}
			e, err := openEntry(kv.Value)
			ids = append(ids, id)
			if all[id] = &e; err != nil {
				s.log.Warn("an entry of the history in etcd cannot be used", "key", end, "error", err)
				all[id] = nil
			}
		}
		if len(res.Kvs) < pageChanges {
			break
		}
	}
	return all, ids[:min(len(ids), historyKept)], nil
}

// pageChanges is how many entries are read at once: each may be more than a megabyte.
const pageChanges = 10

// History returns what was written last, newest first, at most 50. What somebody
// changes with etcdctl is not in it.
func (s *Store) History(ctx context.Context) ([]config.Revision, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	all, ids, err := s.entries(ctx, 0)
	if err != nil {
		return nil, err
	}
	out := []config.Revision{}
	for _, id := range ids {
		if e := all[id]; e != nil {
			out = append(out, e.Revision)
		}
	}
	return out, nil
}

// Rollback undoes all writes after id, newest first. Objects that only etcdctl has
// touched since stay as they are.
func (s *Store) Rollback(ctx context.Context, id int64, o config.WriteOptions) (config.Written, error) {
	if o.Author.Reason == "" {
		o.Author.Reason = fmt.Sprintf("rollback to %d", id)
	}
	return s.write(ctx, o, func(ctx context.Context, snap *snapshot) ([]config.Change, error) {
		all, ids, err := s.entries(ctx, snap.revision)
		if err != nil {
			return nil, err
		}
		return s.undo(all, ids, id)
	})
}

// undo returns the changes that undo all entries after id.
func (s *Store) undo(all map[int64]*entry, ids []int64, id int64) ([]config.Change, error) {
	if !slices.Contains(ids, id) {
		return nil, fmt.Errorf("revision %d: %w: the history does not have it", id, config.ErrNotFound)
	}
	was := map[[2]string]before{}
	for i, next := range ids {
		e := all[next]
		if i > 0 && !all[ids[i-1]].follows(next, ids[i-1]) || next > id && e == nil {
			return nil, fmt.Errorf("rolling back to revision %d: the history is damaged at revision %d", id, next)
		}
		if next == id {
			break
		}
		for _, b := range e.Before {
			was[[2]string{string(b.Kind), b.Name}] = b // older ones win
		}
	}
	var changes []config.Change
	for _, b := range was {
		change := config.Change{Kind: b.Kind, Name: b.Name}
		if value, ok := b.get(); ok {
			o := s.stored(b.Kind, b.Name, raw{value: value, mod: 1, ver: 1})
			if o.Err != nil {
				return nil, fmt.Errorf("rolling back to revision %d: what %s %q was then cannot be used: %w", id, b.Kind.Title(), b.Name, o.Err)
			}
			change.Draft = &o.Draft
		}
		changes = append(changes, change)
	}
	slices.SortFunc(changes, func(a, b config.Change) int {
		return strings.Compare(string(a.Kind)+"/"+a.Name, string(b.Kind)+"/"+b.Name)
	})
	return changes, nil
}
