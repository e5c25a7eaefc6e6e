package positions

import (
	"log/slog"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// Times remembers which times were given to the records that carry none of
// their own, so that one that is read again is given the same one again: by a
// catch-up feed, after a reload, after a SIGKILL.
//
// The time of a record is a function of its offset in its input, made of
// checkpoints: at a checkpoint's offset the clock was read, and behind it each
// byte is a nanosecond, up to where the checkpoint ends. What lies between two of them
// counts back from the second. So times grow with the offset, and do not
// depend on how the input is cut into batches; and no two checkpoints share a
// nanosecond, of whatever inputs, so that equal lines have different times
// (Loki keeps one of those that are equal in stream, time and text).
//
// A new checkpoint is appended to a file with one write(2) before its first time is
// given. A SIGKILL does not touch what was written; a power loss may, and what
// was unanswered then may be given other times. While the file cannot be
// written, times are remembered in memory only.
//
// Life: made by Open as a part of the Store, whose Run and Close serve it. It
// is safe for concurrent use.
type Times struct {
	dir   string
	log   *slog.Logger
	now   func() time.Time
	store *Store // whose positions tell which checkpoints are still needed

	mu     sync.Mutex
	inputs map[inputName]*InputTimes
	end    int64    // Unix ns; all times given so far are before it, unless the clock was set back
	lastID uint32   // of an input in the file
	file   *os.File // nil: not there yet
	size   int64    // of the file
	least  int64    // size of the file when it was last rewritten
	broken bool     // the file is not what the memory is: it is to be rewritten
	side   []byte   // what is appended while the file is being rewritten
	moving bool     // it is being rewritten
	line   []byte   // scratch
	err    error    // why it is broken, nil if it is not

	retry time.Time // no rewrite before; of Run's goroutine
}

// inputName names an input of a source.
type inputName struct{ source, input string }

// InputTimes is Times of one input. Its content has an era: a number that
// changes when what lies at its offsets is replaced, which voids its checkpoints.
type InputTimes struct {
	all  *Times
	name inputName

	// Guarded by all.mu.
	id       uint32 // in the file, 0: none yet
	open     int    // handed out and not closed
	used     time.Time
	offsetOf func(record.Position) (int64, bool)
	era      uint32
	marks    []mark // by offset; none begins before the one before it ends
	tail     uint64 // fingerprint of what lies before the last mark's end
}

// mark is a checkpoint: records in [offset, until) have the times from time on.
type mark struct{ offset, until, time int64 }

// Limits of a checkpoint.
const (
	// markFor is how long one checkpoint is made longer instead of adding another.
	markFor = 10 * time.Millisecond
	// maxAhead is how far times may be ahead of the clock; it is met by input of
	// more than a gigabyte per second, and when the clock is set back.
	maxAhead = time.Second
)

// Of returns the times of an input of a source. offsetOf tells the offset of a
// position, if it has one. The caller must call Close.
func (t *Times) Of(source, input string, offsetOf func(record.Position) (int64, bool)) *InputTimes {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.named(inputName{source, input})
	in.open++
	in.used = t.now()
	in.offsetOf = offsetOf
	return in
}

// named returns the times of that input; t.mu is held.
func (t *Times) named(n inputName) *InputTimes {
	in := t.inputs[n]
	if in == nil {
		in = &InputTimes{all: t, name: n, used: t.now()}
		t.inputs[n] = in
	}
	return in
}

// Err returns why times are not remembered across a restart, nil if they are.
func (t *Times) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Close says that At is not called any more.
func (in *InputTimes) Close() {
	in.all.mu.Lock()
	defer in.all.mu.Unlock()
	in.open--
	in.used = in.all.now()
	if in.open == 0 && in.id == 0 && len(in.marks) == 0 && in.all.inputs[in.name] == in {
		delete(in.all.inputs, in.name)
	}
}

// State returns the era, up to which offset there are checkpoints, and the
// fingerprint that was given for what lies before it.
func (in *InputTimes) State() (era uint32, end int64, tail uint64) {
	in.all.mu.Lock()
	defer in.all.mu.Unlock()
	if n := len(in.marks); n > 0 {
		end, tail = in.marks[n-1].until, in.tail
	}
	return in.era, end, tail
}

// Restart begins a new era if era is the current one, and returns the current
// one: what lies at the input's offsets was replaced.
func (in *InputTimes) Restart(era uint32) uint32 {
	in.all.mu.Lock()
	defer in.all.mu.Unlock()
	if era != in.era {
		return in.era
	}
	in.era++
	if len(in.marks) > 0 {
		in.marks, in.tail = nil, 0
		in.all.append(in, mark{}) // so that a restart does not have to find it out
	}
	return in.era
}

// At returns the time of the record at offset, and up to which offset times go
// on by a nanosecond per byte. end is up to where the input is being read, and
// tail the fingerprint of what lies before end. In another era than the current one the time
// is a new one, and is not remembered: the record cannot be read again.
func (in *InputTimes) At(era uint32, offset, end int64, tail uint64) (at, until int64) {
	t := in.all
	end = max(end, offset+1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if era != in.era {
		now := t.now().UnixNano()
		return t.take(now, now, end-offset), end
	}
	next := sort.Search(len(in.marks), func(i int) bool { return in.marks[i].offset > offset })
	if next > 0 {
		if m := &in.marks[next-1]; offset < m.until {
			return m.time + offset - m.offset, m.until
		}
	}
	if next < len(in.marks) {
		// Nothing here had to be given a time until now: what lies behind it had.
		m := &in.marks[next]
		return m.time - (m.offset - offset), m.offset
	}
	return in.extend(offset, end, tail), end
}

// extend makes the checkpoints reach to end, and returns the time at offset,
// which is behind all of them. all.mu is held.
func (in *InputTimes) extend(offset, end int64, tail uint64) int64 {
	t := in.all
	now := t.now().UnixNano()
	in.tail = tail
	least := now
	if n := len(in.marks); n > 0 {
		last := &in.marks[n-1]
		at := last.time + offset - last.offset
		if last.end() == t.end && at > now-int64(markFor) && at <= now+int64(maxAhead) {
			last.until = end
			t.end = last.end()
			t.append(in, *last)
			return at
		}
		least = at
	}
	m := mark{offset, end, t.take(now, least, end-offset)}
	in.marks = append(in.marks, m)
	t.append(in, m)
	return m.time
}

func (m *mark) end() int64 { return m.time + m.until - m.offset }

// take returns the first of n nanoseconds that were given to nothing else and
// do not lie before least. t.mu is held.
func (t *Times) take(now, least, n int64) int64 {
	at := max(now, least, t.end)
	if at > now+int64(maxAhead) {
		at = now // better the same twice than wrong for as long as the clock was
	}
	t.end = at + n
	return at
}
