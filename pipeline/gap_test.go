package pipeline

import (
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

func TestGapIsAnnouncedInTheStream(t *testing.T) {
	b := batchOf(5, "first behind the gap", "second")
	b.Origin = &record.Origin{Kind: "journald"}
	announce(b, &sources.GapError{Reason: "vacuumed", Records: 1234, Detail: "between x and y: journal vacuumed"})
	if got := shown(b); len(got) != 3 || !strings.Contains(got[0], "warning lbshipd: 1,234 entries lost between x and y: journal vacuumed") ||
		!strings.HasSuffix(got[1], "first behind the gap") || !strings.HasSuffix(got[2], "second") {
		t.Errorf("got %q", got)
	}
	if string(b.Records[0].Header.Identifier) != "lbshipd" || b.Records[0].Time != b.Records[1].Time {
		t.Errorf("gap record: %+v", b.Records[0])
	}
	b = batchOf(0)
	announce(b, &sources.GapError{Reason: "truncated", Bytes: 10, Detail: "it was"})
	if got := shown(b); len(got) != 1 || !strings.Contains(got[0], "lbshipd: at least 10 bytes lost: truncated: it was") {
		t.Errorf("got %q", got)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is written %s", n, got)
		}
	}
}
