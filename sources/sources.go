// Package sources holds the contract between a source of logs and the
// pipeline: a Source discovers inputs, an Input is opened at a position, a
// Reader yields its records in order.
package sources

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// ErrStale is what Open returns (wrapped) when the position does not belong
// to this input: the file at that inode is another one, or the journal no
// longer holds the cursor's entry. The pipeline then counts and announces what
// is known to be lost and opens the input anew.
var ErrStale = errors.New("position does not belong to this input")

// Source discovers the inputs of one configured source.
//
// Life: a factory makes it, without side effects; the pipeline calls Run once;
// it ends when ctx does. Readers that are open may be used after Run has ended,
// until they are closed.
type Source interface {
	// Run calls found once for each input, in any order, as they appear, and
	// returns when ctx ends. An input whose Reader returned io.EOF is
	// forgotten by the source; the same file may be found again only as a new
	// input. found does not block for long.
	Run(ctx context.Context, found func(Input)) error
}

// Holder is implemented by Sources that keep what its owner has dropped, for
// targets that have not had it.
type Holder interface {
	// Held may be called at any time.
	Held() Held
}

// Held is what a source keeps that would be gone without it.
type Held struct {
	Files int   // that are held open though they were deleted or rotated away
	Bytes int64 // of the disk that deleted ones among them occupy
}

// Input is one thing that can be read from a position onward: one journal, or
// one log file (an inode).
type Input interface {
	// Origin is immutable and carried by every batch. Origin().Input is the
	// key of the input's positions.
	Origin() *record.Origin
	// Start is where an input never seen before is to be opened: the empty
	// Position means its beginning.
	Start() record.Position
	// Open returns a new Reader at pos, "" for the beginning. Several Readers
	// of one input may be open at once; each has its own descriptors. A
	// wrapped ErrStale means that pos cannot be resumed from.
	Open(pos record.Position) (Reader, error)
}

// Watcher is implemented by Sources that find inputs which come and go.
type Watcher interface {
	// Watched returns up to when all that came, and may have gone since, was found, by
	// the clock of the file system; the zero time if nothing goes unseen. It may be called at any time, also after Run has ended.
	Watched() time.Time
}

// Heir is implemented by Sources that take over what the one that they replace holds
// open and nobody can open again.
type Heir interface {
	// Inherit is called before Run, with the Source that this one replaces. That one's Run has ended.
	Inherit(former Source)
}

// Troubled is implemented by Sources that can be kept from some of their inputs.
type Troubled interface {
	// Trouble says what keeps the source from inputs now, nil if nothing does. It may be called at any time.
	Trouble() error
}

// Successor is implemented by Inputs that may have taken the place of another
// one: the new file at the path of a file that was rotated away.
type Successor interface {
	// Predecessor returns the Origin().Input of the input whose place this one
	// took, "" if there is none. A target is given the predecessor's records first.
	Predecessor() string
}

// Seeker is implemented by Inputs that can find the place of a time.
type Seeker interface {
	// Seek returns the position in front of the first record that is not
	// older than t; the end if there is none. timeOf is what the source's format says of a
	// line's time; an input whose records have times of their own does not use it.
	Seek(t time.Time, timeOf func(line []byte) (time.Time, bool)) (record.Position, error)
}

// Newcomer is implemented by Inputs that may have appeared while their Source ran.
type Newcomer interface {
	// Appeared reports whether the input was not there yet when Run began.
	Appeared() bool
}

// Risker is implemented by Inputs that can tell what their source is about to
// drop, answered or not.
type Risker interface {
	// Risk tells how much lies behind pos that is not there for ever, and when its
	// oldest part is likely to be dropped; false if that cannot be known.
	Risk(pos record.Position) (Risk, bool)
}

// Risk is what a target stands to lose of an input if it does not take it in time.
type Risk struct {
	Bytes int64         // of the input behind the position
	Left  time.Duration // until the source is likely to drop the first of it; below 0: not known
}

// Reader yields one input's records in order. It is used by one goroutine.
type Reader interface {
	// Wait returns nil when Read may have something to give, or ctx's error.
	// It costs next to nothing while the input is quiet.
	Wait(ctx context.Context) error
	// Read fills b, which is fresh, with what can be had now, without waiting
	// for more: Records, Origin, Before, After, Read, ReadBytes (and Filtered
	// and PositionAt where they apply). Nothing new is an empty batch and no
	// error; b.Read may be more than 0 with no Records when all were filtered
	// or skipped, and After then still moves. io.EOF (alone or with the last
	// records) says that this input will never yield more: the file is gone
	// or rotated away, and drained. A *GapError (with or without records that
	// lie behind the gap) says what was lost; reading can go on. Any other
	// error is not final: the caller backs off and calls again.
	Read(b *record.Batch) error
	// Until makes Read stop exactly at pos, as if nothing lay behind it, until
	// called again; "" lifts it. A feed that catches up meets the live one so.
	Until(pos record.Position)
	// Close frees descriptors. The Reader must not be used afterwards.
	Close() error
}

// Lagger is implemented by Readers that can tell how far behind they are.
type Lagger interface {
	// Lag returns the bytes between the reader's position and the end of the
	// input as far as it is known.
	Lag() int64
}

// Looker is implemented by Readers that wait by looking again and again.
type Looker interface {
	// Looked returns when the input was last looked at while Wait waited, and
	// there was nothing behind the reader's position; the zero time if it never
	// was. It may be called at any time.
	Looked() time.Time
}

// GapError says that records were lost before they could be read.
type GapError struct {
	Reason  string // "vacuumed", "truncated", "rewritten", "corrupt", ...: a metric label value
	Records int64  // lost records if known, else 0
	Bytes   int64  // lost bytes if known, else 0
	Detail  string // for people: which file, which object, between which times
}

func (e *GapError) Error() string { return "records lost: " + e.Reason + ": " + e.Detail }

// Stored is an input that the position store knows for a source: at a start
// it lets a source find again the rest of a file that was rotated meanwhile.
type Stored struct {
	Input    string
	Position record.Position
}

// Deps is what the pipeline gives to a source.
type Deps struct {
	Log   *slog.Logger
	Host  string          // this node's name
	Known func() []Stored // inputs with a stored position; may be called at any time
	// FirstRun is true when no position was ever stored for this source: an
	// input that is there at that moment starts as startAt says. Every input that appears
	// later is read from its beginning.
	FirstRun bool
	// LastSaved is when the stored positions were last saved before this daemon
	// started, by the clock of the file system; zero if there were none. What was
	// born later cannot be known.
	LastSaved time.Time
	// Skipped counts things that could not be read and were left out, by
	// reason (a metric label value), n at a time. Never nil.
	Skipped func(reason string, n int)
	// Refused says why what was opened must not be read: a file of the daemon's own. It is
	// asked of each file that a configuration leads to before a byte of it is read, and has
	// told whom it concerns; to the source the file is as if it were not there. Nil: nothing is refused.
	Refused func(f *os.File) error
	// Location is the time zone of times that name none. Never nil.
	Location *time.Location
	// Times remembers which times were given to the records of an input that have
	// none of their own; offsetOf tells the offset of a position, if it has
	// one. Nil: it is not remembered.
	Times func(input string, offsetOf func(record.Position) (int64, bool)) Times
}

// Times tells when what lies at an offset of one input was first read, the same
// whenever it is read again (positions.Times). It is for inputs whose records have
// an Offset and may carry no time of their own.
type Times interface {
	// State returns the era, up to which offset times were given, and the
	// fingerprint that was told for what lies before it: if that is another
	// one now, the content was replaced, and Restart is to be called.
	State() (era uint32, end int64, tail uint64)
	// Restart says that the content of that era was replaced, and returns the
	// current era, which is another one if somebody else has said it already.
	Restart(era uint32) uint32
	// At returns the time of the record at offset, and up to which offset times
	// go on by a nanosecond per byte. end is how far was read, and tail a
	// fingerprint of what lies before end. When it returns, the times up to end are remembered.
	At(era uint32, offset, end int64, tail uint64) (t, until int64)
	// Close says that At is not called any more.
	Close()
}
