package pipeline

import (
	"time"

	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// times gives the records of a batch that have no time of their own the one
// that they had before, if they were read before. A line that leaves out its
// year or date takes that from when it was read for the first time, so that it means the
// same when it is read again a day or a year later.
type times struct {
	batch  *record.Batch
	offset int64            // of the line that is being taken apart
	ask    func() time.Time // t.firstRead

	// Offsets in [from, until) have the times from first on.
	from, until, first int64
}

// begin is called before the first record of b.
func (t *times) begin(b *record.Batch, o *parse.Options) {
	t.from, t.until = 0, 0
	if b.TimeAt == nil {
		return
	}
	if t.ask == nil {
		t.ask = t.firstRead
	}
	t.batch, o.FirstRead = b, t.ask
}

// end is called after the last record of b, which is then handed on.
func (t *times) end(b *record.Batch, o *parse.Options) {
	t.batch, o.FirstRead, b.TimeAt = nil, nil, nil
}

// at returns the time of what lies at offset.
func (t *times) at(b *record.Batch, offset int64) int64 {
	if offset < t.from || offset >= t.until {
		t.first, t.until = b.TimeAt(offset)
		t.from = offset
	}
	return t.first + offset - t.from
}

func (t *times) firstRead() time.Time { return time.Unix(0, t.at(t.batch, t.offset)) }

// timesOf gives a source the times of its inputs.
func timesOf(all *positions.Times, source string) func(string, func(record.Position) (int64, bool)) sources.Times {
	return func(input string, offsetOf func(record.Position) (int64, bool)) sources.Times {
		return all.Of(source, input, offsetOf)
	}
}
