// Package journald reads systemd's journal: its files directly, with pread,
// without libsystemd.
//
// What an entry becomes:
//
//   - Line and Message are its MESSAGE, the first if it has several. An entry
//     without one (journalctl leaves it out) is shipped as the FIELD=value pairs
//     that its program sent, in the order of the journal, separated by spaces and
//     quoted where needed.
//   - Time is __REALTIME_TIMESTAMP, which is what journalctl shows and sorts by.
//     _SOURCE_REALTIME_TIMESTAMP is the sender's claim, goes backwards within a
//     stream, and would make the order of records differ from that of the journal.
//   - Level is PRIORITY (the most severe if there are several, as journalctl -p
//     takes it), Facility is SYSLOG_FACILITY.
//   - Header.Unit is _SYSTEMD_UNIT; for what PID 1 says about a unit, UNIT.
//
// A Position is systemd's cursor of the entry before it.
package journald

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

var (
	_ sources.Source   = (*Source)(nil)
	_ sources.Troubled = (*Source)(nil)
	_ sources.Input    = (*Source)(nil)
	_ sources.Reader   = (*Reader)(nil)
	_ sources.Lagger   = (*Reader)(nil)
)

const (
	// maxPayload bounds what one field may take in memory, in bytes.
	maxPayload = 64 << 20
	// maxMessage bounds a record's message, in bytes: a longer one is cut.
	maxMessage = 16 << 20
)

// Source is one journal: the source and its only input.
type Source struct {
	cfg     *config.Source
	deps    sources.Deps
	matcher *matcher
	origin  *record.Origin
	files   []string // for tests: these files instead of a directory
	surveys surveys
	denied  atomic.Pointer[error] // see Trouble; nil: nothing
}

// New makes the source that src.Journald describes. It touches nothing.
func New(src *config.Source, d sources.Deps) (sources.Source, error) {
	if src.Journald == nil {
		return nil, fmt.Errorf("source %q has no journald section", src.Name)
	}
	m, err := matcherOf(src.Journald)
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", src.Name, err)
	}
	if dir := src.Journald.Directory; dir != "" && !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("source %q: journal directory %q is not an absolute path", src.Name, dir)
	}
	return &Source{cfg: src, deps: d, matcher: m, origin: originOf(src, d.Host)}, nil
}

// originOf: the input's identity is the directory alone, so that positions
// survive a change of matches or labels.
func originOf(src *config.Source, host string) *record.Origin {
	o := &record.Origin{Source: src.Name, Kind: "journald", Input: "journal", Host: host}
	if dir := src.Journald.Directory; dir != "" {
		o.Path = filepath.Clean(dir)
		o.Input = "journal:" + o.Path
	}
	o.Labels = src.SortedLabels()
	return o
}

// Run reports the journal. It need not exist yet.
func (s *Source) Run(ctx context.Context, found func(sources.Input)) error {
	found(s)
	<-ctx.Done()
	return ctx.Err()
}

// Trouble implements sources.Troubled.
func (s *Source) Trouble() error {
	if err := s.denied.Load(); err != nil {
		return *err
	}
	return nil
}

// setDenied is told what a listing has found.
func (s *Source) setDenied(err error) {
	if err == nil {
		s.denied.Store(nil)
		return
	}
	s.denied.Store(&err)
}

// Origin implements sources.Input.
func (s *Source) Origin() *record.Origin { return s.origin }

// Start returns the cursor of the journal's last entry for startAt end, so
// that nothing that is written from then on is missed, whenever the input is
// opened; "" if the journal is empty.
func (s *Source) Start() record.Position {
	if s.cfg.StartAt == "beginning" || !s.deps.FirstRun {
		return ""
	}
	j := s.journal(nil)
	defer j.close()
	j.rescan(true)
	loc, ok := j.tail()
	if !ok {
		return ""
	}
	return loc.position()
}

func (s *Source) journal(m *matcher) *journal {
	return newJournal(newDirectories(s.cfg.Journald.Directory, s.files), m, maxPayload, s.tell())
}

// toldMax is how many damaged objects one reader names in the log; all count.
const toldMax = 20

func (s *Source) tell() func(string, uint64, string, error) {
	told := 0
	return func(path string, off uint64, reason string, err error) {
		s.deps.Skipped(reason, 1)
		if told++; told > toldMax || s.deps.Log == nil {
			return
		}
		s.deps.Log.Warn("skipped what cannot be read in a journal file",
			"file", path, "offset", off, "reason", reason, "error", err, "further_not_named", told == toldMax)
	}
}

// Open implements sources.Input.
func (s *Source) Open(pos record.Position) (sources.Reader, error) {
	var from *location
	if pos != "" {
		loc, err := parseCursor(string(pos))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, sources.ErrStale)
		}
		from = &loc
	}
	j := s.journal(s.matcher)
	j.follows, j.deny = true, s.setDenied
	gap, err := j.begin(from)
	if err != nil {
		j.close()
		return nil, err
	}
	if gap != nil {
		j.gaps = append(j.gaps, gap)
	}
	r := &Reader{j: j, origin: s.origin, pos: pos, poll: pollEvery, maxMessage: maxMessage}
	r.cache = newCache(s.cfg.Journald.Fields, j.z)
	if f := s.cfg.LogFormat; f == "" || f == "raw" {
		r.minLevel = s.cfg.MinLevel
	}
	return r, nil
}

func microTime(us uint64) string {
	return time.UnixMicro(int64(us)).UTC().Format("2006-01-02T15:04:05.000000Z")
}
