package filestore

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/wholefile"
)

// Limits of the history.
const (
	maxRevisions    = 50
	maxHistoryBytes = 16 << 20 // of given objects before and after; older revisions are dropped
	maxHistoryFile  = 64 << 20
)

// historyFile is the name of the history in the data directory.
const historyFile = "history"

// history is what was changed last, and what the objects were after it. It is
// one JSON file, mode 0600: it holds secrets.
type history struct {
	path string // empty: kept in memory only

	Version int `json:"version"`
	// Key makes Etags of objects from which no secret can be guessed.
	Key []byte `json:"key"`
	// Last is the ID of the newest revision.
	Last      int64             `json:"last"`
	Revisions []historyRevision `json:"revisions"` // oldest first
	// Objects are what was given of all objects after the newest revision.
	Objects map[config.Kind]map[string]json.RawMessage `json:"objects"`
	// Known is false before the first look at the file.
	Known bool `json:"known"`
}

// historyRevision is a revision with what was given, secrets in clear.
type historyRevision struct {
	config.Revision
	Given []historyChange `json:"given"`
}

// historyChange is one object before and after; nothing: it was not there.
type historyChange struct {
	Kind   config.Kind     `json:"kind"`
	Name   string          `json:"name"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// openHistory reads the history of a data directory, or begins one. A damaged
// file is set aside; the error then says so, and the history is a new one all the same.
func openHistory(dir string) (*history, error) {
	h := &history{Version: 1, Key: make([]byte, 32)}
	_, _ = rand.Read(h.Key) // never fails
	if dir == "" {
		return h, nil
	}
	h.path = filepath.Join(dir, historyFile)
	data, _, err := config.ReadFile(h.path, maxHistoryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	had := history{path: h.path}
	if err == nil {
		err = json.Unmarshal(data, &had)
	}
	if err == nil && (had.Version != 1 || len(had.Key) < 16) {
		err = fmt.Errorf("version %d is not known, or it is damaged", had.Version)
	}
	if err != nil {
		aside := h.path + ".damaged"
		return h, errors.Join(fmt.Errorf("reading the history of the configuration %s, which begins anew and is kept as %s: %w", h.path, aside, err), os.Rename(h.path, aside))
	}
	return &had, nil
}

// ReadHistory returns the revisions that a data directory holds, newest first, without
// secrets. A daemon may be at work in it: nothing is changed. errors.Is finds fs.ErrNotExist.
func ReadHistory(dir string) ([]config.Revision, error) {
	data, _, err := config.ReadFile(filepath.Join(dir, historyFile), maxHistoryFile)
	if err != nil {
		return nil, fmt.Errorf("reading the history of the configuration: %w", err)
	}
	var h history
	if err := json.Unmarshal(data, &h); err != nil {
		// Of what is damaged nothing is quoted: it holds secrets.
		return nil, fmt.Errorf("reading the history of the configuration: %s is damaged", filepath.Join(dir, historyFile))
	}
	return h.list(), nil
}

// etag returns the Etag of what was given of an object.
func (h *history) etag(kind config.Kind, name string, given []byte) string {
	mac := hmac.New(sha256.New, h.Key)
	fmt.Fprintf(mac, "%q %q %q", kind, name, given)
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// label gives objects their Etags, and when and by whom they were changed.
func (h *history) label(objects []config.Stored) {
	changed := map[id]*historyRevision{}
	for i := range h.Revisions {
		for _, c := range h.Revisions[i].Given {
			changed[id{c.Kind, c.Name}] = &h.Revisions[i]
		}
	}
	for i := range objects {
		s := &objects[i]
		s.Etag = h.etag(s.Kind, s.Name, s.Given)
		if r := changed[id{s.Kind, s.Name}]; r != nil {
			s.Updated, s.By = r.Time, r.Author
		}
	}
}

// known returns the objects as they were after the newest revision.
func (h *history) known() map[id][]byte {
	out := map[id][]byte{}
	for kind, objects := range h.Objects {
		for name, given := range objects {
			out[id{kind, name}] = given
		}
	}
	return out
}

// remember makes objects those that are known.
func (h *history) remember(objects []config.Stored) {
	h.Known, h.Objects = true, map[config.Kind]map[string]json.RawMessage{}
	for _, s := range objects {
		if h.Objects[s.Kind] == nil {
			h.Objects[s.Kind] = map[string]json.RawMessage{}
		}
		h.Objects[s.Kind][s.Name] = s.Given
	}
}

// add makes a revision of the changes that lead from before to after, and remembers after.
func (h *history) add(before, after []config.Stored, changes []config.Change, author config.Author, now time.Time) config.Revision {
	r := historyRevision{Revision: revision(before, changes, author)}
	given := map[id][]byte{}
	for _, s := range before {
		given[id{s.Kind, s.Name}] = s.Given
	}
	for _, c := range changes {
		change := historyChange{Kind: c.Kind, Name: c.Name, Before: given[id{c.Kind, c.Name}]}
		if c.Draft != nil {
			change.After = c.Draft.Given
		}
		r.Given = append(r.Given, change)
	}
	h.Last++
	r.ID, r.Time = h.Last, now.UTC()
	h.Revisions = append(h.Revisions, r)
	h.trim()
	h.remember(after)
	return r.Revision
}

// revision makes what is said of changes.
func revision(before []config.Stored, changes []config.Change, author config.Author) config.Revision {
	return config.Revision{
		Author: author.Name, Via: author.Via, Reason: author.Reason, Changes: config.Diff(before, changes), Time: time.Now().UTC(),
	}
}

// trim drops the oldest revisions beyond the limits; the newest stays.
func (h *history) trim() {
	size, first := 0, len(h.Revisions)
	for first > 0 && len(h.Revisions)-first < maxRevisions {
		for _, c := range h.Revisions[first-1].Given {
			size += len(c.Before) + len(c.After)
		}
		for _, c := range h.Revisions[first-1].Changes {
			size += len(c.Diff)
		}
		if size > maxHistoryBytes && first < len(h.Revisions) {
			break
		}
		first--
	}
	h.Revisions = slices.Clone(h.Revisions[first:])
}

// save writes the history, if it is kept.
func (h *history) save() error {
	if h.path == "" {
		return nil
	}
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false) // what was given is compared byte by byte
	err := enc.Encode(h)
	if err == nil {
		err = wholefile.Replace(h.path, data.Bytes(), wholefile.Mine(0o600), nil)
	}
	if err != nil {
		return fmt.Errorf("saving the history of the configuration: %w", err)
	}
	return nil
}

// list returns the revisions, newest first, without what was given.
func (h *history) list() []config.Revision {
	out := make([]config.Revision, 0, len(h.Revisions))
	for _, r := range slices.Backward(h.Revisions) {
		out = append(out, r.Revision)
	}
	return out
}

// at returns what was given of all objects just after a revision.
func (h *history) at(number int64) (map[id][]byte, bool) {
	state := h.known()
	for _, r := range slices.Backward(h.Revisions) {
		if r.ID == number {
			return state, true
		}
		for _, c := range slices.Backward(r.Given) {
			if c.Before == nil {
				delete(state, id{c.Kind, c.Name})
				continue
			}
			state[id{c.Kind, c.Name}] = c.Before
		}
	}
	return nil, false
}
