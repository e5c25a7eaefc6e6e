// Package etcdstore keeps the configuration of many nodes in etcd, hands each
// change of it to the node that it runs on, and is where nodes report.
//
// Its keys, under a prefix (/lbshipd by default):
//
//	PREFIX/sources/NAME       one object each, and so targets, tls-bundles,
//	                          formats and services: see envelope for the value
//	PREFIX/generation         how many writes there were; every write compares it
//	PREFIX/changes/ID         the last 50 writes, by generation: what each has changed,
//	                          and what was there before
//	PREFIX/collectors/NODE    the report of a node
//	PREFIX/alive/NODE         there while the node's lease lives
//
// What a node needs to watch lies between formats/ and tls-bundles/, so that one
// watch carries it, in which all of a transaction arrives at once.
package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/seal"
)

// Options of a Store. Only Endpoints and Log are needed.
type Options struct {
	// Endpoints are URLs of etcd's members (http, https, unix), or HOST:PORT.
	Endpoints []string
	// CAFile, CertFile and KeyFile make it TLS; they are read again for each
	// connection. Without CAFile the system's authorities are trusted.
	CAFile, CertFile, KeyFile string
	// User and Password, or PasswordFile, which is read again when it changes.
	User, Password, PasswordFile string

	// Prefix of all keys; "": /lbshipd. Clusters that share an etcd have one each.
	Prefix string
	// Node is what nodes and nodeSelector are held against.
	Node config.Node
	// Dir is the folder that relative names of files in objects are relative to.
	Dir string
	// CacheFile keeps what etcd held last, for a start without etcd; "": none.
	CacheFile string
	// Keys seal the secrets; nil: they are in etcd as they are.
	Keys *seal.Keys
	Log  *slog.Logger

	Thresholds
}

// Thresholds are times that may be set; zero is the default.
type Thresholds struct {
	Timeout      time.Duration // of a call, if it has no earlier deadline: 5s
	StartWait    time.Duration // how long a start waits for etcd before it takes the cache: 2s
	VerifyEvery  time.Duration // how often what the watch has told is held against etcd: 1m
	FilesEvery   time.Duration // how often the files that objects name are looked at: 3s
	ReportEvery  time.Duration // how often a report without news is written: 1m
	LeaseTTL     time.Duration // how long a node that is silent is online: 15s, at least 1s
	OfflineAfter time.Duration // how long after its last report a node is stale before it is offline: 5m
}

func (t *Thresholds) setDefaults() {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&t.Timeout, 5 * time.Second}, {&t.StartWait, 2 * time.Second}, {&t.VerifyEvery, time.Minute}, {&t.FilesEvery, 3 * time.Second},
		{&t.ReportEvery, time.Minute}, {&t.LeaseTTL, 15 * time.Second}, {&t.OfflineAfter, 5 * time.Minute}} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
}

// Store is the configuration in one etcd. The caller must call Close.
type Store struct {
	o      Options
	log    *slog.Logger
	conn   *connection
	ctx    context.Context // ends with Close
	close  context.CancelFunc
	work   sync.WaitGroup // goroutines that Close waits for
	reload chan struct{}

	decoded memo
	reports reports
	reach   reach
	looks   looks

	cacheErr atomic.Pointer[error] // of the last write of the cache; nil: it was good
	known    atomic.Int64          // generation of what Watch makes Events of
}

var (
	_ config.Store      = (*Store)(nil)
	_ config.Watcher    = (*Store)(nil)
	_ config.Collectors = (*Store)(nil)
)

// New makes a Store. It does not wait for etcd; an error is one of the options.
func New(o Options) (*Store, error) {
	o.setDefaults()
	if o.Prefix == "" {
		o.Prefix = "/lbshipd"
	}
	if o.Prefix != path.Clean(o.Prefix) || o.Prefix[0] != '/' || o.Prefix == "/" || len(o.Prefix) > 256 {
		return nil, fmt.Errorf("the prefix of the keys in etcd must be a path such as /lbshipd, is %q", o.Prefix)
	}
	if o.Log == nil {
		return nil, errors.New("no log is given")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{o: o, log: o.Log, ctx: ctx, close: cancel, reload: make(chan struct{}, 1)}
	conn, err := newConnection(ctx, &s.o)
	if err != nil {
		cancel()
		return nil, err
	}
	s.conn = conn
	return s, nil
}

// Close ends all connections, and gives up the node's lease.
func (s *Store) Close() {
	s.close()
	s.work.Wait()
	s.conn.close()
}

// SecretsInClear reports whether secrets are written to etcd as they are.
func (s *Store) SecretsInClear() bool { return s.o.Keys == nil }

// Warnings are what is legal and dangerous in the options, to be said at each start.
func (s *Store) Warnings() []string {
	var all []string
	if s.o.Keys == nil {
		all = append(all, "secrets (private keys, passwords, tokens) are kept in etcd as they are: no cluster key file is given")
	}
	if s.o.User != "" && s.conn.tls == nil && !s.conn.local() {
		all = append(all, "the password for etcd is sent without TLS")
	}
	return all
}

// Reload makes an Event be sent in any case. It does not wait.
func (s *Store) Reload() {
	select {
	case s.reload <- struct{}{}:
	default: // one is under way already
	}
}

// Reached reports since when etcd has been answering, or why it does not.
func (s *Store) Reached() (since time.Time, err error) {
	since, err = s.reach.get()
	if err == nil && !s.conn.ready() {
		err = s.unavailable(s.conn.last())
	}
	return since, err
}

// reach is whether the watch stands.
type reach struct {
	mu    sync.Mutex
	since time.Time
	err   error
}

var errNotReached = fmt.Errorf("%w: it was not reached yet", config.ErrUnavailable)

func (r *reach) get() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() && r.err == nil {
		return r.since, errNotReached
	}
	return r.since, r.err
}

// set notes that etcd answers (err is nil) or does not, and reports whether that is news.
func (r *reach) set(err error) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news = r.since.IsZero() || (err == nil) != (r.err == nil)
	if news && err == nil {
		r.since = time.Now()
	}
	r.err = err
	return news
}

// within bounds a call: whoever waits longer than that is to be told that etcd is away.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Timeout)
}

// looked notes which revision etcd has been seen at just now.
func (s *Store) looked(revision int64) { s.looks.note(revision, time.Now(), s.o.OfflineAfter/8) }

// Keys.

func (s *Store) key(parts ...string) string { return s.o.Prefix + "/" + strings.Join(parts, "/") }

// first and end bound what is watched.
func (s *Store) first() string { return s.key("formats/") }
func (s *Store) end() string   { return s.key("tls-bundles0") } // '0' follows '/'

func (s *Store) generationKey() string { return s.key("generation") }

func (s *Store) objectKey(kind config.Kind, name string) string { return s.key(kind.Plural(), name) }

// object says which object a key holds; false if it is no object's key.
func (s *Store) object(key string) (kind config.Kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, s.o.Prefix+"/")
	if !ok {
		return "", "", false
	}
	plural, name, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	for _, k := range config.Kinds() {
		if k.Plural() == plural {
			return k, name, true
		}
	}
	return "", "", false
}
