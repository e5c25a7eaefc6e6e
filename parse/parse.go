// Package parse takes log lines apart, one file per format. Formats are pure
// functions on bytes: no state between lines, no clock, no I/O, no allocation
// per line.
package parse

import (
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// Format is one line format.
type Format interface {
	// Level finds only the level of line, as cheaply as the format allows, so
	// that a line below the minimum level is dropped before anything else of
	// it is looked at. LevelUnknown if the line does not say.
	Level(line []byte) record.Level
	// Parse takes r.Line apart and sets what the line says of Time, Level,
	// Message, Header, Facility, and, if o.Fields, the other fields by
	// b.AddField. What the line does not say it leaves as it was. It may
	// replace r.Line where the format is an envelope. It reports false if the
	// line is not of this format, and then has changed nothing in r.
	Parse(b *record.Batch, r *record.Record, o *Options) bool
}

// Options of one source, immutable.
type Options struct {
	// Fields says whether fields beyond level, time, message and header are wanted.
	Fields bool
	// MaxFields bounds the fields taken from one line; more are left out.
	MaxFields int
	// Location is the zone of times that name none. Never nil.
	Location *time.Location
	// Now is about the current time, set anew by the caller for every batch and
	// not for every line: times that carry no year or no date take it from there.
	Now time.Time
	// FirstRead, if set, is asked instead of Now, and only for a line that leaves
	// out its year or date: when it was read for the first time.
	FirstRead func() time.Time
}

// now is what a year or date that is left out is taken from.
func (o *Options) now() time.Time {
	if o.FirstRead != nil {
		return o.FirstRead()
	}
	return o.Now
}
