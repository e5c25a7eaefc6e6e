package filestore

import (
	"bytes"
	"context"
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

var _ config.Store = (*Store)(nil)
var _ config.Watcher = (*Store)(nil)

// attempts bounds how often a Write begins anew because somebody else changes the file.
const attempts = 10

// errChanged says that the file was changed while a Write was under way.
var errChanged = errors.New("the file is changed by somebody else all the time")

// content is the configuration file as it is now.
type content struct {
	path    string // without symbolic links
	text    []byte
	objects []config.Stored
}

// load reads the file. The error is a Problems if it is broken.
func (s *Store) load() (content, error) {
	text, _, err := config.ReadFile(s.path, config.MaxFileBytes)
	if err != nil {
		return content{}, fmt.Errorf("%w: %w", config.ErrUnavailable, err)
	}
	objects, err := config.ParseObjects(s.path, text)
	if err != nil {
		return content{}, err
	}
	return content{text: text, objects: objects}, nil
}

// List returns the objects of the file, by kind and name. One that is wrong by
// itself has an Err. The error is a Problems if the text cannot be read as YAML.
func (s *Store) List(ctx context.Context) ([]config.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := s.load()
	if err != nil {
		return nil, err
	}
	s.observed(f.objects)
	s.openedHistory().label(f.objects)
	sortObjects(f.objects)
	return f.objects, nil
}

// sortObjects orders objects by kind and name.
func sortObjects(objects []config.Stored) {
	kinds := config.Kinds()
	slices.SortStableFunc(objects, func(a, b config.Stored) int {
		if order := slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind); order != 0 {
			return order
		}
		return bytes.Compare([]byte(a.Name), []byte(b.Name))
	})
}

// Write changes the file. What is not touched in it stays byte for byte as it
// is. A file that is broken is not changed: the error is a Problems with all that is wrong with it.
// ErrReadOnly says why it cannot be changed here, such as a read-only file
// system. A symbolic link is written through; owner and mode stay.
func (s *Store) Write(ctx context.Context, changes []config.Change, o config.WriteOptions) (config.Written, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(ctx, o, func(content) ([]config.Change, error) { return changes, nil })
}

// write makes the changes that choose returns for what the file holds.
func (s *Store) write(ctx context.Context, o config.WriteOptions, choose func(content) ([]config.Change, error)) (config.Written, error) {
	for range attempts {
		if err := ctx.Err(); err != nil {
			return config.Written{}, err
		}
		written, err := s.writeOnce(o, choose)
		if !errors.Is(err, errChanged) {
			return written, err
		}
	}
	return config.Written{}, fmt.Errorf("writing the configuration %s: %w", s.path, errChanged)
}

func (s *Store) writeOnce(o config.WriteOptions, choose func(content) ([]config.Change, error)) (config.Written, error) {
	f, err := s.load()
	if err != nil {
		return config.Written{}, err
	}
	if _, err := config.Parse(s.path, f.text); err != nil {
		return config.Written{}, fmt.Errorf("the configuration file is broken and is to be mended by hand first: %w", err)
	}
	s.observed(f.objects)
	h := s.openedHistory()
	h.label(f.objects)
	changes, err := choose(f)
	if err != nil {
		return config.Written{}, err
	}
	after, effective, warnings, err := config.Plan(f.objects, changes)
	if err != nil {
		return config.Written{}, err
	}
	now := time.Now()
	written := config.Written{Warnings: warnings}
	if len(effective) > 0 {
		text, err := s.edited(f, after, effective)
		if err != nil {
			return config.Written{}, err
		}
		if o.DryRun {
			written.Revision = revision(f.objects, effective, o.Author)
		} else {
			if err := s.replace(f, text); err != nil {
				return config.Written{}, err
			}
			s.written()
			written.Revision = h.add(f.objects, after, effective, o.Author, now)
			s.saveHistory(h)
		}
	}
	h.label(after)
	written.Objects = changed(changes, after)
	return written, nil
}

// changed returns the objects that changes are about, as they are now.
func changed(changes []config.Change, after []config.Stored) []config.Stored {
	now := make(map[id]config.Stored, len(after))
	for _, s := range after {
		now[id{s.Kind, s.Name}] = s
	}
	out := make([]config.Stored, len(changes))
	for i, c := range changes {
		var there bool
		if out[i], there = now[id{c.Kind, c.Name}]; !there {
			out[i] = config.Stored{Kind: c.Kind, Name: c.Name}
		}
	}
	return out
}

// edited returns the new text, checked as a whole: with the files that it names.
// What is wrong already with objects that are not touched is no reason to refuse.
func (s *Store) edited(f content, after []config.Stored, changes []config.Change) ([]byte, error) {
	text, err := edit(f.text, f.objects, after, changes)
	if err != nil {
		return nil, err
	}
	is, err := config.Parse(s.path, text)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(s.path)
	if _, err := is.Resolve(dir); err == nil {
		return text, nil
	} else if was, parseErr := config.Parse(s.path, f.text); parseErr == nil {
		if _, wasErr := was.Resolve(dir); wasErr == nil || concerns(err, changes) {
			return nil, err
		}
	}
	return text, nil
}

// concerns reports whether a problem is about one of the changed objects.
func concerns(err error, changes []config.Change) bool {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return true
	}
	return slices.ContainsFunc(problems, func(p config.Problem) bool {
		return slices.ContainsFunc(changes, func(c config.Change) bool {
			return p.Object == fmt.Sprintf("%s %q", c.Kind.Title(), c.Name)
		})
	})
}

// replace puts a new text in the place of the file that f was read from.
func (s *Store) replace(f content, text []byte) error {
	path, err := realPath(s.path)
	if errors.Is(err, config.ErrReadOnly) {
		return err
	}
	if err != nil {
		return writeError(s.path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return writeError(path, err)
	}
	err = wholefile.Replace(path, text, wholefile.OwnerOf(info), func() error {
		if s.between != nil {
			s.between()
		}
		now, _, err := config.ReadFile(path, config.MaxFileBytes)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(now, f.text) {
			return errChanged
		}
		return err
	})
	if err != nil && !errors.Is(err, errChanged) {
		return writeError(path, err)
	}
	return err
}

// History returns what was changed last, newest first. Changes that were made in
// the file by hand are in it, by the author "file", once they were seen.
func (s *Store) History(ctx context.Context) ([]config.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f, err := s.load(); err == nil {
		s.observed(f.objects)
	}
	return s.openedHistory().list(), nil
}

// Rollback makes all objects what they were just after a revision.
func (s *Store) Rollback(ctx context.Context, number int64, o config.WriteOptions) (config.Written, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Author.Reason == "" {
		o.Author.Reason = fmt.Sprintf("rollback to revision %d", number)
	}
	return s.write(ctx, o, func(f content) ([]config.Change, error) {
		wanted, ok := s.openedHistory().at(number)
		if !ok {
			return nil, fmt.Errorf("revision %d: %w", number, config.ErrNotFound)
		}
		return changesTo(f.objects, wanted), nil
	})
}

// changesTo returns the changes that make objects what is wanted.
func changesTo(objects []config.Stored, wanted map[id][]byte) []config.Change {
	var changes []config.Change
	for _, s := range objects {
		given, ok := wanted[id{s.Kind, s.Name}]
		if !ok {
			changes = append(changes, config.Change{Kind: s.Kind, Name: s.Name})
		} else if !bytes.Equal(given, s.Given) {
			changes = append(changes, config.Change{Kind: s.Kind, Name: s.Name, Draft: &config.Draft{Given: given}})
		}
		delete(wanted, id{s.Kind, s.Name})
	}
	var back []config.Stored
	for k, given := range wanted {
		back = append(back, config.Stored{Kind: k.kind, Name: k.name, Draft: config.Draft{Given: given}})
	}
	sortObjects(back)
	for _, s := range back {
		changes = append(changes, config.Change{Kind: s.Kind, Name: s.Name, Draft: &config.Draft{Given: s.Given}})
	}
	return changes
}

// observed notes what somebody has changed in the file by hand.
func (s *Store) observed(objects []config.Stored) {
	h := s.openedHistory()
	if slices.ContainsFunc(objects, func(o config.Stored) bool { return o.Err != nil }) {
		return // it is not what runs
	}
	if !h.Known {
		h.remember(objects)
		s.saveHistory(h)
		return
	}
	known := h.known()
	var before []config.Stored
	for k, given := range known {
		before = append(before, config.Stored{Kind: k.kind, Name: k.name, Draft: config.Draft{Given: given}})
	}
	sortObjects(before)
	wanted := make(map[id][]byte, len(objects))
	for _, o := range objects {
		wanted[id{o.Kind, o.Name}] = o.Given
	}
	changes := changesTo(before, wanted)
	if len(changes) == 0 {
		return
	}
	h.add(before, objects, changes, config.Author{Name: "file", Via: "file"}, time.Now())
	s.saveHistory(h)
}

// openedHistory returns the history, read when it is first needed.
func (s *Store) openedHistory() *history {
	if s.history == nil {
		h, err := openHistory(s.dataDir)
		if err != nil {
			s.log.Error("the history of the configuration is lost", "error", err)
		}
		s.history = h
	}
	return s.history
}

// saveHistory writes the history; if it cannot be, it is kept in memory, and that is said.
func (s *Store) saveHistory(h *history) {
	if err := h.save(); err != nil {
		s.log.Error("the configuration's history is in memory only", "error", err)
	}
}

// noticed notes in the history what was changed by hand in a file that is
// about to be used, and returns the Event.Hash of what it holds.
func (s *Store) noticed(text []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The file may be newer than text: what was written since is not to be taken for a
	// change by hand.
	if f, err := s.load(); err == nil {
		s.observed(f.objects)
	}
	objects, err := config.ParseObjects(s.path, text)
	if err != nil {
		return ""
	}
	s.openedHistory().label(objects)
	return config.Hash(objects)
}
