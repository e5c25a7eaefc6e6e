package pipeline

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// gapHeader is the header of gap records: lbshipd itself speaks.
var gapHeader = &record.Header{Identifier: []byte("lbshipd")}

// announce puts a gap record in front of what lies behind the gap, so that
// whoever reads the stream at the target sees the hole where it is:
//
//	lbshipd: 1,234 entries lost between ... and ...: journal vacuumed
//	lbshipd: at least 10 bytes lost: truncated: ...
func announce(b *record.Batch, gap *sources.GapError) {
	one, more := "record", "records"
	if b.Origin != nil && b.Origin.Kind == "journald" {
		one, more = "entry", "entries"
	}
	what := more
	switch {
	case gap.Records == 1:
		what = "1 " + one
	case gap.Records > 1:
		what = grouped(gap.Records) + " " + more
	case gap.Bytes > 0:
		what = "at least " + grouped(gap.Bytes) + " bytes"
	}
	detail := ": " + gap.Reason + ": " + gap.Detail
	if preposition, _, _ := strings.Cut(gap.Detail, " "); preposition == "between" || preposition == "after" || preposition == "before" {
		detail = " " + gap.Detail
	}
	now := time.Now().UnixNano()
	if len(b.Records) > 0 {
		now = b.Records[0].Time // in order with what follows
	}
	line := b.Copy(fmt.Appendf(nil, "lbshipd: %s lost%s", what, detail))
	b.Add()
	copy(b.Records[1:], b.Records)
	b.Records[0] = record.Record{Time: now, Line: line, Message: line, Level: record.LevelWarning, Header: gapHeader,
		Facility: record.NoFacility, Flags: record.TimeAssigned}
}

// grouped writes a number for people: 1,234,567.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b []byte
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b = append(b, ',')
		}
		b = append(b, digits[i])
	}
	return string(b)
}
