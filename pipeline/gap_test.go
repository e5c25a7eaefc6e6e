package pipeline

import (
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/sources"
)

func TestGapIsAnnouncedInTheStream(t *testing.T) {
	b := batchOf(5, "first behind the gap", "second")
	announce(b, &sources.GapError{Reason: "vacuumed", Records: 1234, Detail: "between x and y"})
	if got := shown(b); len(got) != 3 || !strings.Contains(got[0], "warning lbshipd: 1234 records lost before they could be read: vacuumed: between x and y") ||
		!strings.HasSuffix(got[1], "first behind the gap") || !strings.HasSuffix(got[2], "second") {
		t.Errorf("got %q", got)
	}
	if string(b.Records[0].Header.Identifier) != "lbshipd" || b.Records[0].Time != b.Records[1].Time {
		t.Errorf("gap record: %+v", b.Records[0])
	}
	b = batchOf(0)
	announce(b, &sources.GapError{Reason: "truncated", Bytes: 10})
	if got := shown(b); len(got) != 1 || !strings.Contains(got[0], "at least 10 bytes lost") {
		t.Errorf("got %q", got)
	}
}
