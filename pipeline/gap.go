package pipeline

import (
	"fmt"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// gapHeader is the header of gap records: lbshipd itself speaks.
var gapHeader = &record.Header{Identifier: []byte("lbshipd")}

// announce puts a gap record in front of what lies behind the gap, so that
// whoever reads the stream at the target sees the hole where it is.
func announce(b *record.Batch, gap *sources.GapError) {
	what := "records"
	switch {
	case gap.Records == 1:
		what = "1 record"
	case gap.Records > 1:
		what = fmt.Sprintf("%d records", gap.Records)
	case gap.Bytes > 0:
		what = fmt.Sprintf("at least %d bytes", gap.Bytes)
	}
	now := time.Now().UnixNano()
	if len(b.Records) > 0 {
		now = b.Records[0].Time // in order with what follows
	}
	line := b.Copy(fmt.Appendf(nil, "lbshipd: %s lost before they could be read: %s: %s", what, gap.Reason, gap.Detail))
	b.Add()
	copy(b.Records[1:], b.Records)
	b.Records[0] = record.Record{Time: now, Line: line, Message: line, Level: record.LevelWarning, Header: gapHeader,
		Facility: record.NoFacility, Flags: record.TimeAssigned}
}
