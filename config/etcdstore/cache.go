package etcdstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/wholefile"
)

// The cache file holds the watched keys as they are in etcd, so that sealed
// secrets are sealed there too. It is one JSON object and, on a line of its own,
// the SHA-256 of it in hex.
type cacheFile struct {
	Format   int    `json:"format"`
	Prefix   string `json:"prefix"`
	Cluster  uint64 `json:"cluster"`
	Revision int64  `json:"revision"`
	// Endpoints are those of that etcd, sorted.
	Endpoints []string   `json:"endpoints,omitempty"`
	Keys      []cacheKey `json:"keys"`
}

type cacheKey struct {
	Key   string `json:"key"` // without the prefix
	Mod   int64  `json:"mod"`
	Ver   int64  `json:"ver"`
	Value []byte `json:"value"`
}

const (
	cacheFormat = 1
	maxCache    = 2 * maxListing // base64 of it, and some
	// cacheEvery is how often the cache is written at most: it is synced to disk.
	cacheEvery = time.Second
	// cacheAgain is when a write that failed is tried again.
	cacheAgain = 30 * time.Second
)

var errNoCache = errors.New("no cache file is configured")

// keepCache writes what it is sent, the newest of it, until the channel is closed.
func (s *Store) keepCache(saves <-chan *snapshot) {
	if s.o.CacheFile == "" {
		for range saves {
		}
		return
	}
	var next *snapshot // to be written
	var due <-chan time.Time
	for open := true; open || next != nil; {
		if open {
			select {
			case snap, ok := <-saves:
				if open = ok; ok {
					next = snap
				}
				if ok && due == nil {
					due = time.After(0)
				}
				if ok {
					continue
				}
			case <-due:
			}
		}
		if next == nil { // the last write is long enough ago
			due = nil
			continue
		}
		wait := cacheEvery
		if err := s.writeCache(next); err != nil {
			wait = cacheAgain
			if s.CacheErr() == nil {
				s.log.Warn("the configuration that etcd holds cannot be kept on disk; without it, a start needs etcd", "error", err)
			}
			s.cacheErr.Store(&err)
			if !open {
				return
			}
		} else {
			next = nil
			s.cacheErr.Store(nil)
		}
		due = time.After(wait)
	}
}

// CacheErr returns why what etcd holds now is not in the cache file; nil if it is, or soon will be.
func (s *Store) CacheErr() error {
	if err := s.cacheErr.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *Store) writeCache(snap *snapshot) error {
	data, err := encodeCache(snap, s.o.Prefix, s.endpoints()...)
	if err != nil {
		return err
	}
	return wholefile.Replace(s.o.CacheFile, data, wholefile.Mine(0o600), nil)
}

func encodeCache(snap *snapshot, prefix string, endpoints ...string) ([]byte, error) {
	c := cacheFile{Format: cacheFormat, Prefix: prefix, Cluster: snap.cluster, Revision: snap.revision, Endpoints: endpoints}
	for key, r := range snap.values {
		c.Keys = append(c.Keys, cacheKey{key[len(prefix):], r.mod, r.ver, r.value})
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return fmt.Appendf(data, "\n%s\n", hex.EncodeToString(sum[:])), nil
}

// readCache reads what writeCache has written.
func (s *Store) readCache() (*snapshot, error) {
	if s.o.CacheFile == "" {
		return nil, errNoCache
	}
	data, _, err := config.ReadFile(s.o.CacheFile, maxCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no copy of what it held in %s yet", s.o.CacheFile)
	}
	if err != nil {
		return nil, fmt.Errorf("the copy of what it held cannot be read: %w", err)
	}
	snap, err := decodeCache(data, s.o.Prefix)
	if err != nil {
		return nil, fmt.Errorf("the copy of what it held in %s cannot be used: %w", s.o.CacheFile, err)
	}
	return snap, nil
}

func decodeCache(data []byte, prefix string) (*snapshot, error) {
	text, rest, ok := bytes.Cut(data, []byte("\n"))
	sum := sha256.Sum256(text)
	if !ok || string(rest) != hex.EncodeToString(sum[:])+"\n" {
		return nil, errors.New("it is damaged: its checksum is not that of its contents")
	}
	var c cacheFile
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("it is no cache: %s", jsonReason(err))
	}
	if c.Format != cacheFormat {
		return nil, fmt.Errorf("it was written by another version of lbshipd (format %d, this one reads %d)", c.Format, cacheFormat)
	}
	if c.Prefix != prefix {
		return nil, fmt.Errorf("it is of the prefix %q, not %q", c.Prefix, prefix)
	}
	snap := &snapshot{values: make(map[string]raw, len(c.Keys)), revision: c.Revision, cluster: c.Cluster, endpoints: c.Endpoints}
	for _, k := range c.Keys {
		snap.values[prefix+k.Key] = raw{k.Value, k.Mod, k.Ver}
	}
	return snap, nil
}

// ReadCache returns the objects that a cache file holds, as they were given, without
// asking etcd. Secrets that are sealed stay so. What cannot be read of an object is in its Err.
func ReadCache(path string) ([]config.Stored, error) {
	data, _, err := config.ReadFile(path, maxCache)
	if err != nil {
		return nil, fmt.Errorf("reading the copy of what etcd held: %w", err)
	}
	var c cacheFile
	text, _, _ := bytes.Cut(data, []byte("\n"))
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("reading the copy of what etcd held: %s: %s", path, jsonReason(err))
	}
	snap, err := decodeCache(data, c.Prefix)
	if err != nil {
		return nil, fmt.Errorf("reading the copy of what etcd held: %s: %w", path, err)
	}
	var all []config.Stored
	for key, r := range snap.values {
		folder, name, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(key, c.Prefix), "/"), "/")
		kind, ok := config.ParseKind(folder)
		if !ok || name == "" {
			continue // the generation
		}
		e, err := r.open()
		all = append(all, config.Stored{Kind: kind, Name: name, Draft: config.Draft{Given: e.Object}, Etag: e.etag(r), Updated: e.Updated, By: e.By, Err: err})
	}
	sortStored(all)
	return all, nil
}

// ListCached is List of what was in etcd when CacheFile was written last.
func (s *Store) ListCached() ([]config.Stored, error) {
	snap, err := s.readCache()
	if err != nil {
		return nil, err
	}
	return config.WithServices(s.objects(snap)), nil
}
