package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lbshipd/lbshipd/internal/wholefile"
)

// Limits of a key file.
const (
	maxFile = 64 << 10
	maxKeys = 64
	idSize  = 16 // digits of a key's id
)

// key is one AES-256 key. Its id is made of it, which tells a mistyped line.
type key struct {
	id     string
	secret [32]byte
}

func newKey() *key {
	k := &key{}
	rand.Read(k.secret[:]) // never fails: crypto/rand ends the program instead
	k.id = idOf(k.secret[:])
	return k
}

// idOf says nothing of the key: an HMAC of a constant.
func idOf(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("lbshipd key id"))
	return hex.EncodeToString(mac.Sum(nil))[:idSize]
}

func isID(id string) bool {
	return len(id) == idSize && strings.Trim(id, "0123456789abcdef") == ""
}

// parse reads a key file: one key per line, KEYID BASE64; the first one seals,
// all open. Errors give the line and never what it holds.
func parse(data []byte) ([]*key, error) {
	var keys []*key
	seen := map[string]bool{}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := parseLine(line)
		if err == nil && seen[k.id] {
			err = errors.New("this key was there before")
		}
		if err == nil && len(keys) == maxKeys {
			err = fmt.Errorf("more than %d keys", maxKeys)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		seen[k.id] = true
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key")
	}
	return keys, nil
}

func parseLine(line string) (*key, error) {
	parts := strings.Fields(line)
	if len(parts) != 2 || !isID(parts[0]) {
		return nil, errors.New(`must be a key's id and the key, as "lbshipd keygen" writes it`)
	}
	k := &key{id: parts[0]}
	raw, err := encoding.DecodeString(parts[1])
	if err != nil || len(raw) != len(k.secret) {
		return nil, errors.New("the key must be 32 bytes in base64 without padding")
	}
	copy(k.secret[:], raw)
	if idOf(k.secret[:]) != k.id {
		return nil, errors.New("the key does not belong to its id: the line is damaged")
	}
	return k, nil
}

const header = `# Cluster keys of lbshipd: with them the secrets in etcd are sealed. All nodes have
# the same file. The first key seals, all of them open. Keep it secret, and keep a
# copy of it elsewhere: without it the secrets in etcd are lost.
`

func format(keys []*key) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %s\n", k.id, encoding.EncodeToString(k.secret[:]))
	}
	return b.Bytes()
}

// stamp tells two contents of a path apart without reading it.
type stamp struct {
	dev, ino     uint64
	size         int64
	mode         uint32
	mtime, ctime syscall.Timespec
}

func stampOf(st *syscall.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim}
}

// readFile reads a key file, which others must not be able to read or write.
func readFile(path string) ([]*key, stamp, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return nil, stamp{}, fmt.Errorf("reading the cluster keys: %w", err)
	}
	defer f.Close()
	fail := func(err error) ([]*key, stamp, error) {
		return nil, stamp{}, fmt.Errorf("reading the cluster keys in %s: %w", path, err)
	}
	// The stamp is taken from what was opened and before it is read: a change
	// while reading is then seen the next time.
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return fail(err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fail(errors.New("not a regular file"))
	}
	if mode := st.Mode & 0o777; mode&0o027 != 0 {
		return fail(fmt.Errorf("its mode is %04o: others must not read it, nor its group write it (chmod 0600)", mode))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail(err)
	}
	if len(data) > maxFile {
		return fail(fmt.Errorf("larger than %d bytes", maxFile))
	}
	keys, err := parse(data)
	if err != nil {
		return fail(err)
	}
	return keys, stampOf(&st), nil
}

// Create writes a new file with one new key, for its owner only. It is an error
// if the file is there already.
func Create(path string) (id string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("making a key file: %w", err)
	}
	k := newKey()
	_, err = f.Write(format([]*key{k}))
	// The folder too: what is sealed with a key that a loss of power takes is lost.
	if err := errors.Join(err, f.Sync(), f.Close(), wholefile.SyncFolder(filepath.Dir(path))); err != nil {
		os.Remove(path)
		return "", fmt.Errorf("making a key file: %w", err)
	}
	return k.id, nil
}

// Add adds a new key behind the others: it opens, and does not seal yet.
func Add(path string) (id string, err error) {
	k := newKey()
	return k.id, change(path, func(keys []*key) ([]*key, error) {
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("it holds %d keys already", maxKeys)
		}
		return append(keys, k), nil
	})
}

// Promote makes the last key the first one, which seals.
func Promote(path string) (id string, err error) {
	return id, change(path, func(keys []*key) ([]*key, error) {
		last := keys[len(keys)-1]
		id = last.id
		return append([]*key{last}, keys[:len(keys)-1]...), nil
	})
}

// Prune drops all keys but the first one.
func Prune(path string) (id string, err error) {
	return id, change(path, func(keys []*key) ([]*key, error) {
		id = keys[0].id
		return keys[:1], nil
	})
}

// change replaces the file as a whole, with its owner and mode.
func change(path string, f func([]*key) ([]*key, error)) error {
	keys, _, err := readFile(path)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("changing the cluster keys in %s: %w", path, err) }
	if keys, err = f(keys); err != nil {
		return fail(err)
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return fail(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	if err := wholefile.Replace(path, format(keys), wholefile.OwnerOf(info), nil); err != nil {
		return fail(err)
	}
	return nil
}
