package seal

import (
	"fmt"
	"sync"
	"syscall"
)

// Keys are the keys of one file, which is read again when it changes. They may
// be used by several goroutines.
type Keys struct {
	path string

	mu    sync.Mutex // guards what follows
	keys  []*key     // the first one seals; what the file held when it could be read last
	stamp stamp      // of what was read last, good or bad
	count int        // of changes
	err   error      // why the file cannot be used as it is now
}

// Load reads a key file. It must hold a key, and nobody but its owner and his
// group may be able to read it.
func Load(path string) (*Keys, error) {
	keys, stamp, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return &Keys{path: path, keys: keys, stamp: stamp}, nil
}

// Path returns the path of the file.
func (k *Keys) Path() string { return k.path }

// Refresh reads the file again if it changed, and reports whether other keys are
// in use since. If the file cannot be used, the keys that were read before
// stay in use, and the error says why.
func (k *Keys) Refresh() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refresh()
}

// refresh is called with mu held.
func (k *Keys) refresh() (changed bool, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(k.path, &st); err != nil {
		k.stamp, k.err = stamp{}, fmt.Errorf("reading the cluster keys: %s: %w", k.path, err)
		return false, k.err
	}
	if stampOf(&st) == k.stamp {
		return false, k.err
	}
	keys, _, err := readFile(k.path)
	k.stamp, k.err = stampOf(&st), err
	if err != nil {
		return false, err
	}
	if changed = !same(keys, k.keys); changed {
		k.count++
	}
	k.keys = keys
	return changed, nil
}

func same(a, b []*key) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if *a[i] != *b[i] {
			return false
		}
	}
	return true
}

// Changes returns how often other keys were read from the file so far.
func (k *Keys) Changes() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refresh() // as in Current
	return k.count
}

// Current returns the id of the key that seals.
func (k *Keys) Current() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refresh() // if it fails, the keys that were read before are what there is
	return k.keys[0].id
}

// Seal encrypts a text for one place, with the first key.
func (k *Keys) Seal(p Place, text string) (string, error) {
	k.mu.Lock()
	k.refresh() // as in Current
	first := k.keys[0]
	k.mu.Unlock()
	return first.seal(p, text)
}

// Open decrypts what was sealed for the place, with the key that its id names.
func (k *Keys) Open(p Place, sealed string) (string, error) {
	id, data, err := split(sealed)
	if err != nil {
		return "", err
	}
	key := k.find(id)
	if key == nil {
		return "", fmt.Errorf("%w (key %s)", ErrNoKey, id)
	}
	return key.open(p, data)
}

// find returns the key of an id, nil if there is none.
func (k *Keys) find(id string) *key {
	k.mu.Lock()
	defer k.mu.Unlock()
	for range 2 {
		for _, key := range k.keys {
			if key.id == id {
				return key
			}
		}
		if changed, _ := k.refresh(); !changed {
			break
		}
	}
	return nil
}
