package parse

import (
	"bytes"

	"github.com/lbshipd/lbshipd/record"
)

// found gathers what a line says until it is known to be of the format: a
// record is not touched before.
type found struct {
	level      record.Level
	hasTime    bool
	weakMsg    bool // message is of a key that gives way to a better one
	time       int64
	message    []byte // nil: none
	host       []byte
	identifier []byte
	pid        []byte
	msgID      []byte
}

// apply writes what was found into r and leaves alone what was not.
func (f *found) apply(b *record.Batch, r *record.Record) {
	if f.level != record.LevelUnknown {
		r.Level = f.level
	}
	if f.hasTime {
		r.Time = f.time
		r.Flags &^= record.TimeAssigned
	}
	if f.message != nil {
		r.Message = f.message
	} else if r.Message == nil {
		r.Message = r.Line
	}
	if f.host != nil || f.identifier != nil || f.pid != nil || f.msgID != nil {
		f.setHeader(b, r)
	}
}

// setHeader gives r a header that is its old one with what was found, and
// shares the header of the record before it in the batch if that is the same.
func (f *found) setHeader(b *record.Batch, r *record.Record) {
	var h record.Header
	if r.Header != nil {
		h = *r.Header
	}
	if f.host != nil {
		h.Host = f.host
	}
	if f.identifier != nil {
		h.Identifier = f.identifier
	}
	if f.pid != nil {
		h.PID = f.pid
	}
	if f.msgID != nil {
		h.MsgID = f.msgID
	}
	if n := len(b.Records); n >= 2 && &b.Records[n-1] == r {
		if before := b.Records[n-2].Header; before != nil && sameHeader(before, &h) {
			r.Header = before
			return
		}
	}
	r.Header = b.NewHeader()
	*r.Header = h
}

func sameHeader(a, b *record.Header) bool {
	return bytes.Equal(a.PID, b.PID) && bytes.Equal(a.Identifier, b.Identifier) && bytes.Equal(a.Host, b.Host) &&
		bytes.Equal(a.Unit, b.Unit) && bytes.Equal(a.MsgID, b.MsgID)
}

// parseTime reads a time that is all of p: a date and time in any layout, or a
// Unix time.
func parseTime(p []byte, o *Options) (int64, bool) {
	var s stamp
	if end := s.scanStamp(p); end > 0 && end == len(p) {
		return s.unix(o)
	}
	return parseEpoch(p)
}

// fieldAdder bounds the fields taken from one line.
type fieldAdder struct {
	b    *record.Batch
	r    *record.Record
	left int
}

func (a *fieldAdder) add(name, value []byte) {
	if a.left <= 0 {
		return
	}
	a.left--
	a.b.AddField(a.r, name, value)
}
