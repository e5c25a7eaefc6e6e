package auth

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// KeyOptions say where the keys are that tokens are verified with.
type KeyOptions struct {
	// Places are files (PEM or JWKS), directories of PEM files, and https URLs
	// of JWKS. A key in a directory is called like its file without its suffix;
	// keys of a JWKS by their kid; the keys of a single PEM file have no name
	// and fit any token.
	Places []string
	// URLRefresh is how often URLs are fetched; 0: 5 minutes.
	URLRefresh time.Duration
	// URLCAFile holds the authorities (PEM) that URLs' certificates are checked
	// with; "": the system's.
	URLCAFile string
	Log       *slog.Logger
}

// maxWaiters bounds the requests that wait for keys to be read again, so that
// tokens with made-up keys do not hold up the others.
const maxWaiters = 8

// Keyring holds the public keys, and reads them again when they change. What
// cannot be read keeps the keys that it had. The caller must call Close when
// it is done with it.
type Keyring struct {
	log     *slog.Logger
	places  []*watched
	waiting chan struct{} // holds one for each that waits
	set     atomic.Pointer[keySet]
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu sync.Mutex // guards what each of places holds
}

// OpenKeyring reads the keys and goes on reading them while they change. Files
// must be in order now; a URL may be down, and is tried again.
func OpenKeyring(o KeyOptions) (*Keyring, error) {
	ctx, stop := context.WithCancel(context.Background())
	k := &Keyring{log: o.Log, stop: stop, waiting: make(chan struct{}, maxWaiters)}
	k.set.Store(&keySet{})
	for _, at := range o.Places {
		w, err := k.watch(at, o)
		if err == nil && !w.remote {
			err = w.read(ctx)
		}
		if err != nil {
			stop()
			return nil, fmt.Errorf("reading the token keys (--jwt-keys) in %s: %w", at, err)
		}
		k.places = append(k.places, w)
	}
	if err := k.merge(); err != nil {
		stop()
		return nil, err
	}
	for _, w := range k.places {
		if w.remote {
			w.ask()
		}
		k.done.Go(func() { w.run(ctx) })
	}
	return k, nil
}

// watch decides what is at a place. A URL is not fetched, files are not read.
func (k *Keyring) watch(at string, o KeyOptions) (*watched, error) {
	w := &watched{ring: k, at: at, every: pollFiles, soonest: soonestFiles, wanted: make(chan struct{}, 1)}
	if strings.Contains(at, "://") {
		w.remote, w.every, w.soonest = true, o.URLRefresh, soonestURL
		if w.every == 0 {
			w.every = 5 * time.Minute
		}
		u, err := newURLPlace(at, o.URLCAFile)
		if err != nil {
			return nil, err
		}
		w.load = u.load
		return w, nil
	}
	st, err := os.Stat(at)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		w.load = (&dirPlace{path: at, held: map[string][]key{}}).load
	} else {
		w.load = filePlace(at).load
	}
	return w, nil
}

// Close ends the reading.
func (k *Keyring) Close() {
	k.stop()
	k.done.Wait()
}

// merge makes one set of what all places hold.
func (k *Keyring) merge() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []key
	for _, w := range k.places {
		all = append(all, w.held...)
	}
	if len(all) > maxKeys {
		return fmt.Errorf("there are %d token keys (--jwt-keys), at most %d are allowed", len(all), maxKeys)
	}
	old := k.set.Load()
	if slices.EqualFunc(all, old.all, key.equal) {
		return nil
	}
	k.set.Store(&keySet{all: all, generation: old.generation + 1})
	k.log.Info("token keys read", "keys", len(all))
	return nil
}

// refresh reads the keys again because a token fits none of them: files always
// (the key may just have been put there), URLs if the last time is not too
// near. It waits until that is done, ctx ends, or 3 s have passed, and reports
// whether the keys differ from old.
func (k *Keyring) refresh(ctx context.Context, old *keySet) bool {
	select {
	case k.waiting <- struct{}{}:
		defer func() { <-k.waiting }()
	default:
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var all []<-chan struct{}
	for _, w := range k.places {
		if read := w.ask(); read != nil {
			all = append(all, read)
		}
	}
	for _, read := range all {
		select {
		case <-read:
		case <-ctx.Done():
		}
	}
	return k.set.Load().generation != old.generation
}

// missing reports whether some URL has never given any keys, and why.
func (k *Keyring) missing() (why string, missing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.places {
		if !w.loaded {
			return w.problem, true
		}
	}
	return "", false
}
